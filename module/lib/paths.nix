# Paths of directories, compared as the host would.
{ lib }:
rec {
  # Without what names nothing: `//`, `/./`, `/a/../` and a slash at the end.
  plain =
    path:
    let
      add =
        before: part:
        if part == "" || part == "." then
          before
        else if part == ".." then
          lib.take (lib.length before - 1) before
        else
          before ++ [ part ];
    in
    "/" + lib.concatStringsSep "/" (lib.foldl' add [ ] (lib.splitString "/" (toString path)));

  # What NixOS takes for a home (types.passwdEntry).
  isHome = path: builtins.match ".*[:\n].*" (toString path) == null;

  # Of any directory but the root.
  isWithin = path: directory: path == directory || lib.hasPrefix "${directory}/" path;
}
