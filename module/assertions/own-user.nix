# The user that runs the containers has to be what the contract says of it: the
# generator compares the two on the host, and a difference would fail every switch.
{
  config,
  lib,
  options,
  ...
}:
let
  cfg = config.services.llmhop.vllm;
  inherit (config.users) users groups;
  kinds = import ../lib/id-kinds.nix { inherit config lib; };
  kept = import ../lib/kept-subordinate-ids.nix { inherit config lib options; };
  declared = users ? ${cfg.user} && users.${cfg.user}.enable or true;
  own = users.${cfg.user};
  show = id: if id == null then "not set" else toString id;

  # What systemd and the generator take for the name of a user or a group.
  isName = name: builtins.match "[A-Za-z_][A-Za-z0-9_.-]{0,30}" name != null;
  named = option: {
    assertion = isName cfg.${option};
    message = ''
      services.llmhop.vllm.${option} is `${cfg.${option}}`, which is no name: give
      letters, digits, `_`, `-` and dots, a letter or `_` first, at most 31.
    '';
  };

  directory = path: lib.removeSuffix "/" (toString path);

  covered =
    kind:
    lib.any (r: r.start <= kind.start && kind.start + kind.count <= r.start + r.count) (
      kind.rangesOf cfg.user
    );
  # newuidmap maps no id twice.
  overlapping =
    kind:
    let
      ranges = lib.sort (a: b: a.start < b.start) (kind.rangesOf cfg.user);
      pairs = lib.zipListsWith (one: other: { inherit one other; }) ranges (lib.drop 1 ranges);
    in
    map (pair: {
      assertion = pair.one.start + pair.one.count <= pair.other.start;
      message = ''
        users.users.${cfg.user}.${kind.rangesOption} has ranges that overlap, ${pair.one.shown}
        and ${pair.other.shown}, with which Podman can't start. Merge the two.
      '';
    }) pairs;

  # NixOS gives 65536 ids from 100000 on, or from a multiple of 65536 above that
  # (allocSubUid in nixos/modules/config/update-users-groups.pl).
  mayBeCovered =
    kind:
    own.autoSubUidGidRange
    && kept
    && kind.start >= 100000
    && lib.mod (kind.start - 100000) 65536 + kind.count <= 65536;
in
{
  config = lib.mkIf cfg.enable {
    assertions = [
      (named "user")
      (named "group")
      {
        assertion = declared;
        message = ''
          services.llmhop.vllm.user is `${cfg.user}`, which the module does not
          declare. Declare users.users.${cfg.user} and users.groups.${cfg.group},
          or leave the option at `vllm`.
        '';
      }
    ]
    ++ lib.optionals declared (
      [
        {
          assertion = own.uid == cfg.uid;
          message = ''
            services.llmhop.vllm.uid is ${toString cfg.uid}, but users.users.${cfg.user}.uid
            is ${show own.uid}. Set both to the same number.
          '';
        }
        {
          assertion = own.group == cfg.group;
          message = ''
            services.llmhop.vllm.group is `${cfg.group}`, but users.users.${cfg.user}.group
            is `${own.group}`. Set both to the same name.
          '';
        }
        {
          assertion = own.group != cfg.group || (groups.${cfg.group}.gid or null) == cfg.gid;
          message = ''
            services.llmhop.vllm.gid is ${toString cfg.gid}, but users.groups.${cfg.group}.gid
            is ${show (groups.${cfg.group}.gid or null)}. Set both to the same number.
          '';
        }
        {
          assertion = directory own.home == directory cfg.dataDir;
          message = ''
            services.llmhop.vllm.dataDir is ${toString cfg.dataDir}, but users.users.${cfg.user}.home
            is ${toString own.home}, below which Podman would keep its storage. Set both
            to the same directory.
          '';
        }
      ]
      ++ map (kind: {
        assertion = covered kind || mayBeCovered kind;
        message = ''
          ${kind.range}, which users.users.${cfg.user}.${kind.rangesOption} does not
          contain, so that Podman may not map it. Add the range there.
        '';
      }) kinds
      ++ lib.concatMap overlapping kinds
    );

    warnings = lib.optionals declared (
      lib.optional (own.linger != true) ''
        services.llmhop.vllm.user is `${cfg.user}`, whose linger is not turned on:
        without it the models stop at the user's last logout and do not start at
        boot. Set users.users.${cfg.user}.linger = true.
      ''
      ++ map (kind: ''
        ${kind.range}, which is only in the automatic range of users.users.${cfg.user}
        if NixOS happens to give it that one. Add it to ${kind.rangesOption} there.
      '') (lib.filter (kind: mayBeCovered kind && !covered kind) kinds)
    );
  };
}
