# What the types cannot say about models, their names and ports. Each message
# names the option, its value and the way out. Ids and secrets are checked in
# files of their own.
{ config, lib, ... }:
let
  cfg = config.services.llmhop;
  inherit (cfg.vllm) models;
  enabled = lib.filter (key: models.${key}.enable) (lib.attrNames models);

  modelOption = import ../lib/model-option-path.nix { inherit lib; };

  # For each value of `leaf` that enabled models have.
  unique =
    leaf:
    let
      keysOf = lib.groupBy (key: toString models.${key}.${leaf}) enabled;
      options = keys: lib.concatMapStringsSep " and " (key: modelOption key leaf) keys;
    in
    lib.mapAttrsToList (value: keys: {
      assertion = lib.length keys == 1;
      message = ''
        ${options keys} are all `${value}`. Give each enabled model a ${leaf} of its own.
      '';
    }) keysOf;

  own = import ../lib/listen.nix {
    inherit lib;
    inherit (cfg) settings;
  };

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
      ++ unique "port"
      ++ unique "name"
      ++ lib.concatMap (key: [
        {
          assertion = models.${key}.port != 0;
          message = ''
            ${modelOption key "port"} is 0, which stands for any free port, so that
            llmhop could not find the model. Set a port from 1 to 65535.
          '';
        }
        {
          assertion = !cfg.enable || !lib.elem models.${key}.port own.ports;
          message = ''
            ${modelOption key "port"} is ${toString models.${key}.port}, a port on which
            llmhop listens (${own.option}). Change one of the two.
          '';
        }
        {
          assertion = !(remote ? ${models.${key}.name});
          message = ''
            ${modelOption key "name"} is `${models.${key}.name}`, and a model of that
            name has a url in services.llmhop.settings.models. Rename one of the
            two, or remove the url.
          '';
        }
      ]) enabled
      ++ lib.mapAttrsToList (key: model: {
        assertion = model.tag == null || model.digest == null;
        message = ''
          ${modelOption key "tag"} is `${toString model.tag}` and ${modelOption key "digest"}
          is `${toString model.digest}`. Set one of the two: a digest pins the
          image, a tag follows it.
        '';
      }) models;
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
