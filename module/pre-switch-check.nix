# What no evaluation can see, and a switch would change for good or leave undone: whose
# the directories are on this host, and which ids its user and group have, which NixOS
# leaves as they are with a warning. Nothing is changed then.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.llmhop;
  command = lib.getExe cfg.generatorPackage;
  contract = import ./lib/contract-file.nix { inherit config lib pkgs; };
in
{
  config = lib.mkIf cfg.vllm.enable {
    system.preSwitchChecks.llmhop = ''
      LLMHOP_OPTION_NAMES=nixos ${command} check --before-switch ${contract} >/dev/null
    '';
  };
}
