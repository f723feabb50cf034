# Paths as systemd reads them in units and in tmpfiles.d, where `%` begins a specifier
# (systemd.unit(5), tmpfiles.d(5)); render/quadlet.py and render/host_tree.py do the same.
{ lib }:
let
  literal = lib.replaceStrings [ "%" ] [ "%%" ];
in
{
  inherit literal;

  # NixOS puts it between single quotes, in which C escapes count.
  tmpfile =
    path:
    literal (
      lib.replaceStrings
        [
          "\\"
          "'"
        ]
        [
          "\\\\"
          "\\'"
        ]
        path
    );

  # One word of a list.
  word =
    path:
    ''"${
      literal (
        lib.replaceStrings
          [
            "\\"
            "\""
          ]
          [
            "\\\\"
            "\\\""
          ]
          path
      )
    }"'';
}
