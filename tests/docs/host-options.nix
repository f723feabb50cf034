# Declarations of the NixOS options that the pages set for a host with a GPU, typed as in nixpkgs.
{ lib, ... }:
let
  inherit (lib) mkOption types;
in
{
  options = {
    hardware.nvidia.open = mkOption { type = types.nullOr types.bool; };
    nixpkgs.config.allowUnfree = mkOption { type = types.bool; };
    services.xserver.videoDrivers = mkOption { type = types.listOf types.str; };
  };
}
