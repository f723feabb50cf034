# The user's subordinate ranges, and its ids beside them (own-ids.nix): whoever shares an id with a
# container can read its files, and the other way round.
{ config, lib, ... }:
let
  cfg = config.services.llmhop.vllm;
  inherit (import ../lib/accounts.nix { inherit config lib; }) users;
  kinds = import ../lib/id-kinds.nix { inherit config lib; };
  uids = lib.head kinds;
  others = lib.attrNames uids.owners;

  contains = kind: id: id != null && id >= kind.start && id < kind.start + kind.count;
  overlap = a: b: a.start < b.start + b.count && b.start < a.start + a.count;

  inherit (import ../lib/host.nix { inherit lib; }) given_ids system_ids;
  # NixOS gives these uids to people (allocUid in update-users-groups.pl).
  forPeople = {
    start = 1000;
    count = 29000;
  };
  people = lib.filter (name: users.${name}.isNormalUser && users.${name}.uid == null) others;

  # What is wrong with a range by itself; the first of it is told.
  faultsOf = kind: [
    {
      # The last id, 4294967295, means "no id" to the kernel.
      when = kind.start + kind.count > 4294967295;
      message = ''
        ${kind.range}, which ends above the highest id, 4294967294. Lower the
        start or the count.
      '';
    }
    {
      when = contains kind kind.id;
      message = ''
        ${kind.range}, which contains services.llmhop.vllm.${kind.idOption} = ${toString kind.id}.
        Move the range away from it.
      '';
    }
  ]
  ++ map (ids: {
    when = kind.start <= ids.last && kind.start + kind.count > ids.first;
    message = ''
      ${kind.range}, which reaches into ${toString ids.first}-${toString ids.last}, the ids
      that are given to ${ids.to}. Move it, for instance to 300000.
    '';
  }) ([ system_ids ] ++ given_ids)
  ++ lib.optional (kind.idOption == "uid") {
    when = people != [ ] && overlap kind forPeople;
    message = ''
      ${kind.range}, from which NixOS can give a uid to users that have none set:
      ${lib.concatStringsSep ", " people}. Move it, for instance to 300000, or set their uids.
    '';
  };

  # Of two kinds that are alike the second follows the first.
  numbers = kind: { inherit (kind) id start count; };
  followed = kind: kind.idOption != uids.idOption && numbers kind == numbers uids;

  ownNumbers =
    kind:
    let
      fault = lib.findFirst (fault: fault.when) null (faultsOf kind);
    in
    lib.optionals (!followed kind) [
      {
        # Of root itself another assertion tells.
        assertion = kind.id != 0 || kind.owner == "root";
        message = ''
          services.llmhop.vllm.${kind.idOption} is 0, the id of root, but the
          containers are rootless. Set the id of a system user, such as 503.
        '';
      }
      {
        # Or Podman can't unpack the files of an image's users.
        assertion = kind.count >= system_ids.last;
        message = ''
          services.llmhop.vllm.${kind.countOption} is ${toString kind.count}, but a container needs
          ids 1 to ${toString system_ids.last} for the system users of its image, and the highest of
          many is 65534. Leave it out for 65536.
        '';
      }
      {
        assertion = fault == null;
        message = fault.message or "";
      }
    ];

  othersIds =
    kind:
    lib.mapAttrsToList (_: owner: {
      assertion = !contains kind owner.${kind.idOption};
      message = ''
        ${kind.range}, which contains
        ${owner.path}.${kind.idOption} = ${toString owner.${kind.idOption}}.
        Move the range away from it.
      '';
    }) kind.owners;

  othersRanges =
    kind:
    lib.concatMap (
      name:
      map (range: {
        assertion = !overlap kind range;
        message = ''
          ${kind.range}, which overlaps ${range.shown} of
          ${users.${name}.path}.${kind.rangesOption}. Move one of the two.
        '';
      }) (kind.rangesOf name)
    ) others;

  # NixOS gives these users ranges of 65536 ids from 100000 on, at activation
  # and without regard to the declared ranges of others (allocSubUid in
  # nixos/modules/config/update-users-groups.pl).
  automatic = lib.filter (name: users.${name}.autoSubUidGidRange) others;
  automaticRange = {
    start = 100000;
    count = 65536 * lib.length automatic;
  };
  automaticEnd = automaticRange.start + automaticRange.count;
  reached = lib.filter (
    kind: automatic != [ ] && overlap kind automaticRange && !followed kind
  ) kinds;
in
{
  config = lib.mkIf cfg.enable {
    assertions = lib.concatMap (kind: ownNumbers kind ++ othersIds kind ++ othersRanges kind) kinds;

    warnings = map (kind: ''
      ${kind.range}, which the automatic ranges of these users can reach:
      ${lib.concatStringsSep ", " automatic}. Start it at ${toString automaticEnd} or
      above, or declare the ranges of those users.
    '') reached;
  };
}
