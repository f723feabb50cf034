# users.users and users.groups with the types, the defaults and the assertions
# of nixpkgs (nixos/modules/config/users-groups.nix).
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.users;
  option = type: default: mkOption { inherit type default; };
  flag = option types.bool;
  maybe = type: option (types.nullOr type) null;
  entry = types.passwdEntry;

  range =
    start:
    types.submodule {
      options = {
        ${start} = mkOption { type = types.int; };
        count = option types.int 1;
      };
    };

  user =
    { name, config, ... }:
    {
      options = {
        name = mkOption { type = entry types.str; };
        enable = flag true;
        description = option (entry types.str) "";
        uid = maybe types.int;
        isSystemUser = flag false;
        isNormalUser = flag false;
        group = option types.str "";
        extraGroups = option (types.listOf types.str) [ ];
        home = option (entry types.path) "/var/empty";
        homeMode = option (types.strMatching "[0-7]{1,5}") "700";
        createHome = flag false;
        shell = maybe (types.either types.shellPackage (entry types.path));
        useDefaultShell = flag false;
        subUidRanges = option (types.listOf (range "startUid")) [ ];
        subGidRanges = option (types.listOf (range "startGid")) [ ];
        autoSubUidGidRange = flag false;
        hashedPasswordFile = maybe (entry types.path);
        initialPassword = maybe types.str;
        packages = option (types.listOf types.package) [ ];
        linger = maybe types.bool;
      };
      config = lib.mkMerge [
        { name = lib.mkDefault name; }
        (lib.mkIf config.isNormalUser {
          group = lib.mkDefault "users";
          home = lib.mkDefault "/home/${name}";
          createHome = lib.mkDefault true;
        })
        (lib.mkIf (config.isNormalUser && config.subUidRanges == [ ] && config.subGidRanges == [ ]) {
          autoSubUidGidRange = lib.mkDefault true;
        })
      ];
    };

  group =
    { name, ... }:
    {
      options = {
        name = mkOption { type = entry types.str; };
        gid = maybe types.int;
        members = option (types.listOf (entry types.str)) [ ];
      };
      config.name = lib.mkDefault name;
    };

  unique = ids: lib.length ids == lib.length (lib.unique ids);
  idsOf = kind: set: lib.filter (id: id != null) (lib.mapAttrsToList (_: one: one.${kind}) set);

  assertionsOf =
    name: user:
    let
      system = user.isSystemUser || (user.uid != null && user.uid < 1000 && !user.isNormalUser);
    in
    [
      {
        assertion = builtins.match "[a-zA-Z0-9_.][a-zA-Z0-9_.-]*" user.name != null;
        message = ''The username "${user.name}" is not valid.'';
      }
      {
        assertion = system != user.isNormalUser;
        message = "Exactly one of users.users.${name}.isSystemUser and users.users.${name}.isNormalUser must be set.";
      }
      {
        assertion = user.isNormalUser && user.uid != null -> user.uid >= 1000;
        message = "users.users.${name}.uid is below 1000 and users.users.${name}.isNormalUser set.";
      }
      {
        assertion = user.group != "";
        message = "users.users.${name}.group is unset.";
      }
      {
        assertion = user.group == "" || lib.any (g: g.name == user.group) (lib.attrValues cfg.groups);
        message = "The primary group of users.users.${name} is undefined: ${user.group}.";
      }
    ];
in
{
  options = {
    users = {
      mutableUsers = flag true;
      manageLingering = flag true;
      users = option (types.attrsOf (types.submodule user)) { };
      groups = option (types.attrsOf (types.submodule group)) { };
    };

    # nixos/modules/misc/ids.nix
    ids.uids = option (types.attrsOf types.int) { };
    ids.gids = option (types.attrsOf types.int) { };

    # As Userborn, in place of the Perl script that reads the options above.
    systemd.sysusers.enable = flag false;
  };

  config = {
    users.groups.users.gid = 100;

    assertions = [
      {
        assertion = unique (idsOf "uid" cfg.users) && unique (idsOf "gid" cfg.groups);
        message = "UIDs and GIDs must be unique!";
      }
      {
        assertion = !(config.systemd.sysusers.enable && config.services.userborn.enable);
        message = "You cannot use systemd-sysusers and Userborn at the same time";
      }
    ]
    ++ lib.concatLists (lib.mapAttrsToList assertionsOf cfg.users);
  };
}
