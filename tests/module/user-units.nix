# systemd.user.units of nixpkgs (nixos/modules/system/boot/systemd/user.nix), which
# also has the text of each user service, under that one's strategy.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  unit.options = {
    enable = mkOption {
      type = types.bool;
      default = true;
    };
    overrideStrategy = mkOption {
      type = types.enum [
        "asDropinIfExists"
        "asDropin"
      ];
      default = "asDropinIfExists";
    };
    text = mkOption {
      type = types.nullOr types.str;
      default = null;
    };
  };
in
{
  options.systemd.user.units = mkOption {
    type = types.attrsOf (types.submodule unit);
    default = { };
  };

  config.systemd.user.units = lib.mapAttrs' (
    name: service:
    lib.nameValuePair "${name}.service" { inherit (service) enable overrideStrategy; }
  ) config.systemd.user.services;
}
