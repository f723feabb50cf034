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
  inherit (import ../lib/accounts.nix { inherit config lib; }) users groups;
  kinds = import ../lib/id-kinds.nix { inherit config lib; };
  faults = import ../lib/user-faults.nix { inherit config lib; };
  kept = import ../lib/kept-subordinate-ids.nix { inherit config lib options; };
  own = users.${cfg.user};
  gid = groups.${cfg.group}.gid or null;
  show = id: if id == null then "not set" else toString id;

  inherit (import ../lib/paths.nix { inherit lib; }) isHome plain;

  sorted = kind: lib.sort (a: b: a.start < b.start) (kind.rangesOf cfg.user);
  # By one range or by several that follow one another (have_range in shadow's
  # lib/subordinateio.c).
  covered =
    kind:
    let
      reach = end: range: if range.start <= end then lib.max end (range.start + range.count) else end;
    in
    kind.start + kind.count <= lib.foldl' reach kind.start (sorted kind);
  # newuidmap maps no id twice.
  overlapping =
    kind:
    let
      ranges = sorted kind;
      pairs = lib.zipListsWith (one: other: { inherit one other; }) ranges (lib.drop 1 ranges);
    in
    map (pair: {
      assertion = pair.one.start + pair.one.count <= pair.other.start;
      message = ''
        ${own.path}.${kind.rangesOption} has ranges that overlap, ${pair.one.shown}
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

  ofOwn = [
    {
      assertion = own.uid == cfg.uid;
      message = ''
        services.llmhop.vllm.uid is ${toString cfg.uid}, but ${own.path}.uid
        is ${show own.uid}. Set both to the same number.
      '';
    }
    {
      assertion = own.group == cfg.group;
      message = ''
        services.llmhop.vllm.group is `${cfg.group}`, but ${own.path}.group
        is `${own.group}`. Set both to the same name.
      '';
    }
    {
      assertion = own.group != cfg.group || gid == cfg.gid;
      message = ''
        services.llmhop.vllm.gid is ${toString cfg.gid}, but ${
          groups.${cfg.group}.path or "users.groups.${cfg.group}"
        }.gid
        is ${show gid}. Set both to the same number.
      '';
    }
    {
      assertion = plain own.home == plain cfg.dataDir || !isHome cfg.dataDir;
      message = ''
        services.llmhop.vllm.dataDir is ${toString cfg.dataDir}, but ${own.path}.home
        is ${toString own.home}, below which Podman would keep its storage. Set both
        to the same directory.
      '';
    }
    {
      # As with the ids: what a host has by chance is not relied on. Where NixOS
      # leaves linger alone, only the host can tell.
      assertion = own.linger == true || !config.users.manageLingering;
      message = ''
        services.llmhop.vllm.user is `${cfg.user}`, but ${own.path}.linger is
        ${if own.linger == false then "false" else "not set"}: no boot would start the models, and
        each switch would fail. Set ${own.path}.linger = true.
      '';
    }
  ]
  ++ map (kind: {
    assertion = covered kind || mayBeCovered kind;
    message = ''
      ${kind.range}, which ${own.path}.${kind.rangesOption} does not
      contain, so that Podman may not map it. Add the range there.
    '';
  }) kinds
  ++ lib.concatMap overlapping kinds;
in
{
  config = lib.mkIf cfg.enable {
    assertions =
      if faults == [ ] then
        ofOwn
      else
        [
          {
            assertion = false;
            message = lib.head faults;
          }
        ];

    warnings = lib.optionals (faults == [ ]) (
      map (kind: ''
        ${kind.range}, which is only in the automatic range of ${own.path}
        if NixOS happens to give it that one. Add it to ${kind.rangesOption} there.
      '') (lib.filter (kind: mayBeCovered kind && !covered kind) kinds)
    );
  };
}
