# nixos/modules/services/system/userborn.nix since nixpkgs #508608.
{ config, lib, ... }:
let
  users = lib.mapAttrsToList (_: user: {
    inherit (user) name subUidRanges subGidRanges;
  }) config.users.users;
in
{
  options.services.userborn.enable = lib.mkEnableOption "userborn";

  config = lib.mkIf config.services.userborn.enable {
    systemd.services.userborn.restartTriggers = [ (builtins.toJSON users) ];
  };
}
