# What the types cannot say about models and their names. Each message names the
# option, its value and the way out. Ports, ids and secrets are checked in files of
# their own.
{ config, lib, ... }:
let
  cfg = config.services.llmhop;
  inherit (cfg.vllm) models;
  enabled = lib.filter (key: models.${key}.enable) (lib.attrNames models);

  modelOption = import ../lib/model-option-path.nix { inherit lib; };

  sameName = lib.mapAttrsToList (
    name: keys:
    let
      options = lib.concatMapStringsSep " and " (key: modelOption key "name") keys;
    in
    {
      assertion = lib.length keys == 1;
      message = ''
        ${options} are all `${name}`. Give each enabled model a name of its own.
      '';
    }
  ) (lib.groupBy (key: models.${key}.name) enabled);

  # Headers for a model that is served here are fine; another URL is not.
  remote = import ../lib/router-models.nix {
    inherit lib;
    inherit (cfg) settings;
  };
in
{
  config = lib.mkMerge [
    (lib.mkIf cfg.vllm.enable {
      assertions = [
        {
          assertion = config.virtualisation.podman.enable;
          message = ''
            virtualisation.podman.enable is false, and the models are containers
            of Podman. Leave it to services.llmhop.vllm, or turn that off.
          '';
        }
      ]
      ++ sameName
      ++ lib.concatMap (key: [
        {
          assertion = !cfg.enable || !(remote ? ${models.${key}.name});
          message = ''
            ${modelOption key "name"} is `${models.${key}.name}`, and a model of that
            name has a url in services.llmhop.settings.models. Rename one of the
            two, or remove the url.
          '';
        }
        {
          assertion = models.${key}.tag == null || models.${key}.digest == null;
          message = ''
            ${modelOption key "tag"} is `${toString models.${key}.tag}` and ${modelOption key "digest"}
            is `${toString models.${key}.digest}`. Set one of the two: a digest pins the
            image, a tag follows it.
          '';
        }
      ]) enabled;
    })

    (lib.mkIf (cfg.enable || cfg.vllm.enable) {
      assertions = [
        {
          # The packages' enabledTestPaths are from 25.11, system.preSwitchChecks
          # and Podman 5 are older.
          assertion = lib.versionAtLeast lib.trivial.release "25.11";
          message = ''
            services.llmhop needs nixpkgs 25.11 or newer, and this is
            ${lib.trivial.release}. Update the input nixpkgs.
          '';
        }
        {
          assertion = (cfg.vllm.enable && enabled != [ ]) || (cfg.enable && remote != { });
          message = ''
            services.llmhop.vllm.models has no enabled model, and
            services.llmhop.settings.models gives llmhop none, so there is nothing
            to serve. Add or enable a model, or turn services.llmhop.vllm.enable
            and services.llmhop.enable off.
          '';
        }
      ];
    })
  ];
}
