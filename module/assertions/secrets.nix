# Secrets must not reach the Nix store, which every user of the host and of a
# binary cache can read. Messages name options, never values.
{ config, lib, ... }:
let
  cfg = config.services.llmhop;
  modelOption = import ../lib/model-option-path.nix { inherit lib; };

  # The backend-wide options and those of each model, with their paths.
  scopes =
    leaf:
    [
      {
        path = "services.llmhop.vllm.${leaf}";
        value = cfg.vllm.${leaf};
      }
    ]
    ++ lib.mapAttrsToList (name: model: {
      path = modelOption name leaf;
      value = model.${leaf};
    }) cfg.vllm.models;

  inStore = file: file != null && lib.hasPrefix "${builtins.storeDir}/" (toString file);

  # Variables that hold nothing but secrets.
  secretNames = [
    "HF_TOKEN"
    "HUGGING_FACE_HUB_TOKEN"
    "VLLM_API_KEY"
  ];
  secretsOf = environment: lib.intersectLists secretNames (lib.attrNames environment);

  # What stands before a variable's name in each key of a unit that can set one.
  beforeVariable = {
    Environment = "(.*[[:space:]\"'])?";
    PodmanArgs = ".*(--env[=[:space:]]|-e)[\"'=[:space:]]*";
  };
  secretsInKey =
    key: keys:
    lib.filter (
      name:
      lib.any (line: builtins.match "${beforeVariable.${key}}${name}=.*" (toString line) != null) (
        lib.toList (keys.${key} or [ ])
      )
    ) secretNames;

  refused = path: secrets: {
    assertion = secrets == [ ];
    message = ''
      ${path} sets ${lib.concatStringsSep " and " secrets},
      a secret that everybody could read in the Nix store. Set it in the
      file that environmentFile names.
    '';
  };

  # llmhop takes `$name` and `${name}` for variables too. In lower case the name of one is
  # more likely the rest of a secret with a dollar sign.
  isReference =
    text:
    builtins.match ".*[$][{].*" text != null
    || builtins.match ".*[$][A-Z_][A-Z0-9_]*([^A-Za-z0-9_].*)?" text != null;
  isPlain = text: lib.isString text && text != "" && !isReference text;

  plainTokens = lib.filter isPlain (lib.toList (cfg.settings.authTokens or [ ]));
  # What servers take for a login (RFC 9110, and names of APIs such as X-Api-Key).
  isLogin =
    header:
    builtins.match ".*(authorization|cookie|key|password|secret|token).*" (lib.toLower header) != null;
  headersOf =
    model:
    let
      headers = model.headers or null;
    in
    if lib.isAttrs headers then headers else { };
  plainHeaders = lib.concatLists (
    lib.mapAttrsToList (
      name: model:
      map (
        header:
        lib.showOption [
          "services"
          "llmhop"
          "settings"
          "models"
          name
          "headers"
          header
        ]
      ) (lib.attrNames (lib.filterAttrs (header: text: isLogin header && isPlain text) (headersOf model)))
    ) cfg.settings.models
  );
  wayOut = ''
    which everybody can read in the Nix store. Write
    "''${file:name}" with a credential of systemd.services.llmhop, or
    "''${env:NAME}". A `$` in the secret itself would be read as the start of such a reference.
  '';
in
{
  config = lib.mkMerge [
    (lib.mkIf cfg.vllm.enable {
      assertions =
        map (scope: {
          assertion = !inStore scope.value;
          message = ''
            ${scope.path} is ${toString scope.value}, in the Nix store, where
            everybody can read it. Put the file elsewhere and write its path as a
            string, such as "/etc/vllm/vllm.env".
          '';
        }) (scopes "environmentFile")
        ++ map (scope: refused scope.path (secretsOf scope.value)) (scopes "environment")
        ++ lib.concatMap (
          key:
          map (scope: refused "${scope.path}.${key}" (secretsInKey key scope.value)) (
            scopes "containerConfig" ++ scopes "serviceConfig"
          )
        ) (lib.attrNames beforeVariable);
    })

    (lib.mkIf cfg.enable {
      # llmhop allows it, so it is no error here.
      warnings =
        lib.optional (plainTokens != [ ]) ''
          services.llmhop.settings.authTokens holds ${toString (lib.length plainTokens)} token(s)
          in plain text, ${wayOut}''
        ++ map (option: ''
          ${option} looks like a secret in plain text, ${wayOut}'') plainHeaders;
    })
  ];
}
