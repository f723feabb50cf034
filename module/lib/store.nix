# What of a secret is in the Nix store, which everybody can read.
{ lib }:
let
  store = "${builtins.storeDir}/";
in
{
  # Of a path: null is none.
  inStore = file: file != null && lib.hasPrefix store (toString file);

  # Of a text that may hold a path, such as a reference to a file.
  namesStore = lib.hasInfix store;

  # The file that a line of EnvironmentFile= or LoadCredential= has systemd read
  # (systemd.exec(5)).
  isRead = line: lib.removePrefix "-" (lib.last (lib.splitString ":" (lib.replaceStrings [ "\"" ] [ "" ] line)));
}
