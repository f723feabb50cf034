# Declarations of sops-nix's and agenix's options for secrets, typed and closed as theirs. Sources:
# Mic92/sops-nix, modules/sops/default.nix and templates/default.nix; ryantm/agenix, modules/age.nix.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };
  required = type: mkOption { inherit type; };
  # Printed as JSON, a path would be copied; the tests look at names.
  pathByName = required types.path // {
    apply = toString;
  };
  units = option (types.listOf types.str) [ ];
  groupOf = owner: if owner == null then null else config.users.users.${owner}.group;
  inherit (config) sops;

  format = types.enum [
    "yaml"
    "json"
    "binary"
    "dotenv"
    "ini"
  ];

  sopsSecret =
    { name, config, ... }:
    {
      options = {
        name = option types.str name;
        key = option types.str name;
        path = option types.str "/run/secrets/${config.name}";
        format = option format "yaml";
        mode = option types.str "0400";
        owner = option (types.nullOr types.str) null;
        uid = option (types.nullOr types.int) 0;
        group = option (types.nullOr types.str) (groupOf config.owner);
        gid = option (types.nullOr types.int) 0;
        sopsFile = option types.path sops.defaultSopsFile;
        restartUnits = units;
        reloadUnits = units;
        neededForUsers = option types.bool false;
      };
    };

  template =
    { name, config, ... }:
    {
      options = {
        name = option types.singleLineStr name;
        path = option types.singleLineStr "/run/secrets/rendered/${config.name}";
        content = option types.lines "";
        mode = option types.singleLineStr "0400";
        owner = option (types.nullOr types.singleLineStr) null;
        uid = option (types.nullOr types.int) 0;
        group = option (types.nullOr types.singleLineStr) (groupOf config.owner);
        gid = option (types.nullOr types.int) 0;
        file = option types.path (pkgs.writeText config.name config.content);
        restartUnits = units;
        reloadUnits = units;
      };
    };

  ageSecret =
    { name, config, ... }:
    {
      options = {
        name = option types.str name;
        file = pathByName;
        path = option types.str "/run/agenix/${config.name}";
        mode = option types.str "0400";
        owner = option types.str "0";
        group = option types.str "0";
        symlink = option types.bool true;
      };
    };
in
{
  options = {
    sops.defaultSopsFile = required types.path;
    sops.secrets = option (types.attrsOf (types.submodule sopsSecret)) { };
    sops.templates = option (types.attrsOf (types.submodule template)) { };
    sops.placeholder = option (types.attrsOf types.str) { };
    age.secrets = option (types.attrsOf (types.submodule ageSecret)) { };
  };

  config.sops = {
    # The deployer's own.
    defaultSopsFile = "/etc/nixos/secrets.yaml";
    # A word for each secret, which is replaced where they are decrypted.
    placeholder = lib.mapAttrs (name: _: "<SOPS:${name}:PLACEHOLDER>") sops.secrets;
  };
}
