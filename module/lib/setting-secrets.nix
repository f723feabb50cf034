# The texts of llmhop's settings in which it resolves references to secrets, as
# { path, text }, with the option path for messages.
{ lib, settings }:
let
  at =
    path: text:
    lib.optional (lib.isString text) {
      inherit text;
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
        at [
          "models"
          model
          "headers"
          header
        ]
      ) (if lib.isAttrs headers then headers else { })
    );
in
lib.concatMap (at [ "authTokens" ]) (lib.toList (settings.authTokens or [ ]))
++ lib.concatLists (lib.mapAttrsToList headersOf settings.models)
