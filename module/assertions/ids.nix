# The user's ids and its subordinate ranges: whoever shares an id with a
# container can read its files, and the other way round.
{ config, lib, ... }:
let
  cfg = config.services.llmhop.vllm;
  inherit (config.users) users;
  kinds = import ../lib/id-kinds.nix { inherit config lib; };
  others = lib.attrNames (removeAttrs users [ cfg.user ]);

  contains = kind: id: id != null && id >= kind.start && id < kind.start + kind.count;
  overlap = a: b: a.start < b.start + b.count && b.start < a.start + a.count;

  ownNumbers = kind: [
    {
      assertion = kind.id != 0;
      message = ''
        services.llmhop.vllm.${kind.idOption} is 0, the id of root, but the
        containers are rootless. Set the id of a system user, such as 503.
      '';
    }
    {
      assertion = kind.start >= 1000;
      message = ''
        ${kind.range}, which reaches into the ids of system users (below 1000).
        Move it, for instance to 300000.
      '';
    }
    {
      # The last id, 4294967295, means "no id" to the kernel.
      assertion = kind.start + kind.count <= 4294967295;
      message = ''
        ${kind.range}, which ends above the highest id, 4294967294. Lower the
        start or the count.
      '';
    }
    {
      assertion = !contains kind kind.id;
      message = ''
        ${kind.range}, which contains services.llmhop.vllm.${kind.idOption} = ${toString kind.id}.
        Move the range away from it.
      '';
    }
  ];

  othersIds =
    kind:
    lib.mapAttrsToList (name: owner: {
      assertion = !contains kind owner.${kind.idOption};
      message = ''
        ${kind.range}, which contains
        ${kind.ownersOption}.${name}.${kind.idOption} = ${toString owner.${kind.idOption}}.
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
          users.users.${name}.${kind.rangesOption}. Move one of the two.
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
  reached = lib.filter (kind: automatic != [ ] && overlap kind automaticRange) kinds;
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
