# The contract between the module and llmhop-generator, as an attribute set:
# what the user configured under the documented option names. Without vLLM its
# part is only the switch, so that required options need no definition.
{ lib, cfg }:
let
  # toJSON would copy a Nix path to the world-readable store; toString names
  # the file where it is.
  path = value: if value == null then null else toString value;

  model = m: {
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
      settings
      shmSize
      tag
      unitConfig
      ;
    environmentFile = path m.environmentFile;
  };

  vllm = {
    inherit (cfg.vllm)
      containerConfig
      devices
      enable
      environment
      gid
      group
      image
      modelSettings
      openFilesLimit
      serviceConfig
      startupOrdering
      subGidCount
      subGidStart
      subUidCount
      subUidStart
      tag
      uid
      unitConfig
      user
      ;
    cacheDir = path cfg.vllm.cacheDir;
    dataDir = path cfg.vllm.dataDir;
    environmentFile = path cfg.vllm.environmentFile;
    models = lib.mapAttrs (_: model) cfg.vllm.models;
  };
in
{
  version = 1;
  llmhop = { inherit (cfg) enable settings; };
  vllm = if cfg.vllm.enable then vllm else { enable = false; };
}
