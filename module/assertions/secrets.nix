# Secrets of the models must not reach the Nix store, which every user of the host and of a
# binary cache can read. Messages name options, never values.
{ config, lib, ... }:
let
  cfg = config.services.llmhop.vllm;
  modelOption = import ../lib/model-option-path.nix { inherit lib; };
  inherit (import ../lib/host.nix { inherit lib; }) secret_flags secret_variables;
  inherit (import ../lib/store.nix { inherit lib; }) inStore isRead;

  # A backend-wide option and that of each model, with their paths.
  scopes =
    backend: leaf:
    [
      {
        path = "services.llmhop.vllm.${backend}";
        value = cfg.${backend};
      }
    ]
    ++ lib.mapAttrsToList (name: model: {
      path = modelOption name leaf;
      value = model.${leaf};
    }) cfg.models;
  both = leaf: scopes leaf leaf;
  linesOf = key: keys: map toString (lib.toList (keys.${key} or [ ]));

  examples = {
    EnvironmentFile = "/etc/vllm/vllm.env";
    LoadCredential = "/run/secrets/token";
  };
  files =
    map (scope: scope // { example = examples.EnvironmentFile; }) (both "environmentFile")
    # Where systemd or Podman reads a file of secrets.
    ++ lib.concatMap (
      scope:
      lib.concatMap (
        key:
        map (line: {
          path = "${scope.path}.${key}";
          value = isRead line;
          example = examples.${key};
        }) (linesOf key scope.value)
      ) (lib.attrNames examples)
    ) (both "containerConfig" ++ both "serviceConfig");

  secretsOf = environment: lib.intersectLists secret_variables (lib.attrNames environment);

  # What stands before a variable's name in each key of a unit that can set one, and before
  # that of a credential.
  beforeName = {
    Environment = "(.*[[:space:]\"'])?";
    PodmanArgs = "(.*[[:space:]\"'])?(--env|-[A-Za-z]*e)[\"'=[:space:]]*";
  };
  # The arguments of Podman may be words of several items.
  secretsInKey =
    key: keys:
    let
      lines = linesOf key keys;
      texts = if key == "PodmanArgs" then [ (lib.concatStringsSep " " lines) ] else lines;
    in
    lib.filter (
      name: lib.any (text: builtins.match "${beforeName.${key}}${name}=.*" text != null) texts
    ) secret_variables;

  # Any spelling of a flag that vLLM takes (contract/flags.py).
  secretFlags =
    settings:
    lib.filter (
      key:
      (lib.isString settings.${key} || lib.isList settings.${key})
      && secret_flags ? ${lib.replaceStrings [ "_" ] [ "-" ] key}
    ) (lib.attrNames settings);

  refused = path: secrets: {
    assertion = secrets == [ ];
    message = ''
      ${path} sets ${lib.concatStringsSep " and " secrets},
      a secret that everybody could read in the Nix store. Set it in the
      file that environmentFile names.
    '';
  };
  # An empty line resets those before it.
  setsCredential = keys: lib.any (line: line != "") (linesOf "SetCredential" keys);
in
{
  config = lib.mkIf cfg.enable {
    assertions =
      map (scope: {
        assertion = !inStore scope.value;
        message = ''
          ${scope.path} is ${toString scope.value}, in the Nix store, where
          everybody can read it. Put the file elsewhere and write its path as a
          string, such as "${scope.example}".
        '';
      }) files
      ++ map (scope: refused scope.path (secretsOf scope.value)) (both "environment")
      ++ map (scope: refused scope.path (secretFlags scope.value)) (scopes "modelSettings" "settings")
      ++ map (scope: {
        assertion = !setsCredential scope.value;
        message = ''
          ${scope.path}.SetCredential sets a credential, a secret that everybody
          could read in the Nix store. Put it in a file elsewhere, and name that
          in LoadCredential.
        '';
      }) (both "serviceConfig")
      ++ lib.concatMap (
        key:
        map (scope: refused "${scope.path}.${key}" (secretsInKey key scope.value)) (
          both "containerConfig" ++ both "serviceConfig"
        )
      ) (lib.attrNames beforeName);
  };
}
