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

  files =
    both "environmentFile"
    # Where systemd or Podman reads a file of secrets.
    ++ lib.concatMap (
      scope:
      lib.concatMap (
        key:
        map (line: {
          path = "${scope.path}.${key}";
          value = isRead line;
        }) (linesOf key scope.value)
      ) [ "EnvironmentFile" "LoadCredential" ]
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
      && lib.elem (lib.replaceStrings [ "_" ] [ "-" ] key) secret_flags
    ) (lib.attrNames settings);

  refused = path: secrets: {
    assertion = secrets == [ ];
    message = ''
      ${path} sets ${lib.concatStringsSep " and " secrets},
      a secret that everybody could read in the Nix store. Set it in the
      file that environmentFile names.
    '';
  };
in
{
  config = lib.mkIf cfg.enable {
    assertions =
      map (scope: {
        assertion = !inStore scope.value;
        message = ''
          ${scope.path} is ${toString scope.value}, in the Nix store, where
          everybody can read it. Put the file elsewhere and write its path as a
          string, such as "/etc/vllm/vllm.env".
        '';
      }) files
      ++ map (scope: refused scope.path (secretsOf scope.value)) (both "environment")
      ++ map (scope: refused scope.path (secretFlags scope.value)) (scopes "modelSettings" "settings")
      ++ map (scope: refused "${scope.path}.SetCredential" (
        lib.optional (linesOf "SetCredential" scope.value != [ ]) "a credential"
      )) (both "serviceConfig")
      ++ lib.concatMap (
        key:
        map (scope: refused "${scope.path}.${key}" (secretsInKey key scope.value)) (
          both "containerConfig" ++ both "serviceConfig"
        )
      ) (lib.attrNames beforeName);
  };
}
