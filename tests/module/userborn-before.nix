# nixos/modules/services/system/userborn.nix before nixpkgs #508608: Userborn, of
# whatever version, is given no ranges of subordinate ids.
{ config, lib, ... }:
let
  users = lib.mapAttrsToList (_: user: { inherit (user) name; }) config.users.users;
in
{
  disabledModules = [ ./userborn.nix ];

  options.services.userborn.enable = lib.mkEnableOption "userborn";

  config = lib.mkIf config.services.userborn.enable {
    systemd.services.userborn.restartTriggers = [ (builtins.toJSON users) ];
  };
}
