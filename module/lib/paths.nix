# Paths of directories, compared as the host would.
{ lib }:
rec {
  # Without what names nothing: `//`, `/./` and a slash at the end.
  plain =
    path:
    "/"
    + lib.concatStringsSep "/" (
      lib.filter (part: part != "" && part != ".") (lib.splitString "/" (toString path))
    );

  # Of any directory but the root.
  isWithin = path: directory: path == directory || lib.hasPrefix "${directory}/" path;
}
