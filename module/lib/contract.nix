# The contract between the module and llmhop-generator, as an attribute set:
# what the user configured under the documented option names. Without vLLM its
# part is only the switch, so that required options need no definition.
{ lib, cfg }:
let
  # toJSON would copy a Nix path to the world-readable store; toString names
  # the file where it is.
  path = value: if value == null then null else toString value;

  jsonValue = import ./json-value.nix { inherit lib; };
  options = [
    "services"
    "llmhop"
    "vllm"
  ];

  model = key: m: {
    inherit (m)
      containerConfig
      devices
      digest
      enable
      environment
      model
      name
      port
      serviceConfig
      shmSize
      tag
      unitConfig
      ;
    environmentFile = path m.environmentFile;
    settings = jsonValue (
      options
      ++ [
        "models"
        key
        "settings"
      ]
    ) m.settings;
  };

  needsTag = lib.any (m: m.enable && m.tag == null && m.digest == null) (
    lib.attrValues cfg.vllm.models
  );

  vllm = {
    inherit (cfg.vllm)
      containerConfig
      devices
      enable
      environment
      gid
      group
      image
      openFilesLimit
      serviceConfig
      startupOrdering
      subGidCount
      subGidStart
      subUidCount
      subUidStart
      uid
      unitConfig
      user
      ;
    cacheDir = path cfg.vllm.cacheDir;
    dataDir = path cfg.vllm.dataDir;
    environmentFile = path cfg.vllm.environmentFile;
    modelSettings = jsonValue (options ++ [ "modelSettings" ]) cfg.vllm.modelSettings;
    models = lib.mapAttrs model cfg.vllm.models;
  }
  # Read only where it counts: it has no default.
  // lib.optionalAttrs needsTag { inherit (cfg.vllm) tag; };

  given = import ./given-settings.nix {
    inherit lib;
    inherit (cfg) settings;
  };
  routed = import ./router-models.nix {
    inherit lib;
    inherit (cfg) settings;
  };
  off = map (m: m.name) (lib.attrValues cfg.vllm.models);
  # What is set for models of vLLM has nothing to add to while vLLM is off.
  settings =
    if cfg.vllm.enable || !given ? models then
      given
    else
      given
      // {
        models = lib.filterAttrs (name: _: routed ? ${name} || !lib.elem name off) given.models;
      };
in
{
  version = 1;
  llmhop = {
    inherit (cfg) enable;
    inherit settings;
  };
  vllm = if cfg.vllm.enable then vllm else { enable = false; };
}
