# The contract of a host that vLLM leaves: llmhop stays where it has other models.
{ lib, cfg }:
let
  models = import ./router-models.nix {
    inherit lib;
    inherit (cfg) settings;
  };
  hasModels = models != { };
  given = import ./given-settings.nix {
    inherit lib;
    settings = cfg.settings // {
      inherit models;
    };
  };
in
{
  version = 1;
  llmhop = {
    enable = cfg.enable && hasModels;
    settings = given;
  };
  vllm.enable = false;
}
