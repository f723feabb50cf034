# The texts of llmhop's settings in which it resolves references to secrets, as
# { path, text, header }, with the option path for messages, and the header's name, null of a
# token.
{ lib, settings }:
let
  at =
    header: path: value:
    # A Nix path is none in JSON (given-settings.nix).
    lib.optional (lib.isStringLike value) {
      inherit header;
      text = toString value;
      path = lib.showOption (
        [
          "services"
          "llmhop"
          "settings"
        ]
        ++ path
      );
    };
  headersOf =
    model: entry:
    let
      headers = entry.headers or null;
    in
    lib.concatLists (
      lib.mapAttrsToList (
        header:
        at header [
          "models"
          model
          "headers"
          header
        ]
      ) (if lib.isAttrs headers then headers else { })
    );
in
lib.concatMap (at null [ "authTokens" ]) (lib.toList (settings.authTokens or [ ]))
++ lib.concatLists (lib.mapAttrsToList headersOf settings.models)
