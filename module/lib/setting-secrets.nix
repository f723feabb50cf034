# The texts of llmhop's settings in which it resolves references to secrets, and what they refer
# to (router/llmhop/config/secrets.py).
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

  tokensOf =
    client: entry:
    lib.concatMap (
      key:
      lib.concatMap (at null [
        "clients"
        client
        key
      ]) (lib.toList (entry.${key} or [ ]))
    ) (lib.optionals (lib.isAttrs entry) [ "token" "tokens" ]);

  # As { path, text, header }, with the option path for messages, and the header's name, null of
  # a token.
  texts =
    lib.concatMap (at null [ "authTokens" ]) (lib.toList (settings.authTokens or [ ]))
    ++ lib.concatLists (
      lib.mapAttrsToList tokensOf (if settings.clients or null == null then { } else settings.clients)
    )
    ++ lib.concatLists (lib.mapAttrsToList headersOf settings.models);

  # As { path, name }.
  referencesOf =
    pattern:
    lib.concatMap (
      secret:
      map (found: {
        inherit (secret) path;
        name = lib.head found;
      }) (lib.filter lib.isList (builtins.split pattern secret.text))
    ) texts;
  # In lower case the name of a variable is more likely the rest of a secret with a dollar sign.
  isVariable = reference: builtins.match "[A-Z_][A-Z0-9_]*" reference.name != null;
in
{
  inherit texts;
  files = referencesOf "[$][{]file:([^}]*)}";
  variables =
    referencesOf "[$][{]env:([A-Za-z_][A-Za-z0-9_]*)}"
    ++ lib.filter isVariable (
      referencesOf "[$]([A-Za-z0-9_]+)" ++ referencesOf "[$][{]([A-Za-z0-9_]+)}"
    );
}
