# llmhop's secrets must not reach the Nix store either: not by its settings, which the
# contract holds whether it runs or not, nor by what its unit gives it. Messages name
# options, never values.
{ config, lib, ... }:
let
  cfg = config.services.llmhop;
  service = config.systemd.services.llmhop;
  inherit (import ../lib/store.nix { inherit lib; }) isRead inStore namesStore;

  references = import ../lib/setting-secrets.nix {
    inherit lib;
    inherit (cfg) settings;
  };
  secrets = references.texts;
  tls = cfg.settings.tls or null;
  key = if lib.isAttrs tls then tls.key or null else null;
  isText = value: lib.isString value || builtins.isPath value || lib.isDerivation value;

  # llmhop takes `$name` and `${name}` for variables too. In lower case the name of one is
  # more likely the rest of a secret with a dollar sign.
  isReference =
    text:
    builtins.match ".*[$][{].*" text != null
    || builtins.match ".*[$][A-Z_][A-Z0-9_]*([^A-Za-z0-9_].*)?" text != null;
  isPlain = secret: secret.text != "" && !isReference secret.text;
  # What servers take for a login (RFC 9110, and names of APIs such as X-Api-Key).
  isLogin =
    secret:
    builtins.match ".*(authorization|cookie|key|password|secret|token).*" (lib.toLower secret.header)
    != null
    || builtins.match "(basic|bearer) .*" (lib.toLower secret.text) != null;
  isToken = secret: secret.header == null;

  stored = lib.filter (secret: namesStore secret.text) secrets;
  plain = lib.filter (secret: isPlain secret && !namesStore secret.text) secrets;
  plainTokens = lib.filter isToken plain;
  plainHeaders = lib.filter (secret: !isToken secret && isLogin secret) plain;

  # What the settings refer to.
  namesOf = map (reference: reference.name);
  variables = namesOf references.variables;
  files = namesOf references.files ++ lib.optional (isText key) (toString key);

  option = key: "systemd.services.llmhop.serviceConfig.${key}";
  linesOf = key: map toString (lib.toList (service.serviceConfig.${key} or [ ]));
  isOf = names: line: lib.elem (lib.head (lib.splitString ":" line)) names;
  # What the unit gives llmhop of its secrets by the store, as paths of options.
  given =
    map (name: "systemd.services.llmhop.environment.${name}") (
      lib.filter (name: service.environment.${name} or null != null) (lib.unique variables)
    )
    ++ map (_: option "Environment") (
      lib.filter (
        line: lib.any (name: builtins.match "(.*[[:space:]\"'])?${name}=.*" line != null) variables
      ) (linesOf "Environment")
    )
    ++ map (_: option "EnvironmentFile") (
      lib.filter (line: variables != [ ] && inStore (isRead line)) (linesOf "EnvironmentFile")
    )
    ++ map (_: option "LoadCredential") (
      lib.filter (line: isOf files line && inStore (isRead line)) (linesOf "LoadCredential")
    )
    ++ map (_: option "SetCredential") (lib.filter (isOf files) (linesOf "SetCredential"));

  wayOut = ''
    which everybody can read in the Nix store. Write
    "''${file:name}" with a credential of systemd.services.llmhop, or
    "''${env:NAME}". A `$` in the secret itself would be read as the start of such a reference.
  '';
in
{
  config = lib.mkMerge [
    (lib.mkIf (cfg.enable || cfg.vllm.enable) {
      assertions = map (path: {
        assertion = false;
        message = ''
          ${path} is or names a file in the Nix store, where everybody can read it. Put the file
          elsewhere and write its path as a string, or load it as a credential of
          systemd.services.llmhop.
        '';
      }) (
        lib.unique (map (secret: secret.path) stored)
        ++ lib.optional (isText key && namesStore (toString key)) "services.llmhop.settings.tls.key"
      );

      # llmhop allows it, so it is no error here.
      warnings =
        lib.mapAttrsToList (path: tokens: ''
          ${path} holds ${toString (lib.length tokens)} token(s)
          in plain text, ${wayOut}'') (lib.groupBy (secret: secret.path) plainTokens)
        ++ map (secret: ''
          ${secret.path} looks like a secret in plain text, ${wayOut}'') plainHeaders;
    })

    (lib.mkIf cfg.enable {
      warnings = map (path: ''
        ${path} gives llmhop a secret by the Nix store, where everybody can read it. Put it in a
        file elsewhere, and name that in ${option "LoadCredential"} or ${option "EnvironmentFile"}.
      '') (lib.unique given);
    })
  ];
}
