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

  isWithin =
    path: directory:
    directory == "/" || path == directory || lib.hasPrefix "${directory}/" path;
}
