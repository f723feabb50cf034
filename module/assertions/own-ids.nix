# The ids of the models' user itself: who has one of them too can read what the models
# have, and would be read by what runs in their containers.
{ config, lib, ... }:
let
  cfg = config.services.llmhop.vllm;
  inherit (import ../lib/accounts.nix { inherit config lib; }) users;
  inherit (import ../lib/host.nix { inherit lib; }) given_ids;
  kinds = import ../lib/id-kinds.nix { inherit config lib; };
  uids = lib.head kinds;
  others = lib.attrNames uids.owners;
  ownGroup = users.${cfg.user}.group or cfg.group;

  # Who else has the id itself, as ends of a message.
  holders =
    kind:
    lib.mapAttrsToList (_: owner: "${owner.path}.${kind.idOption} too") (
      # That the user has another group is told by own-user.nix.
      lib.filterAttrs (
        name: owner: owner.${kind.idOption} == kind.id && (kind.idOption == "uid" || name != ownGroup)
      ) kind.owners
    )
    ++ lib.concatMap (
      name:
      map (range: "in ${range.shown} of ${users.${name}.path}.${kind.rangesOption}") (
        lib.filter (range: kind.id >= range.start && kind.id < range.start + range.count) (kind.rangesOf name)
      )
    ) (lib.filter (name: users.${name}.uid != 0) others) # Root can read all anyway.
    ++ lib.optionals (!follows kind || given uids == [ ]) (given kind);
  follows = kind: kind.idOption != uids.idOption && kind.id == uids.id;
  # nixpkgs keeps them for services, which get them once they are turned on.
  kept =
    kind:
    map (name: "kept for `${name}` by nixpkgs (ids.${kind.idOption}s.${name})") (
      lib.attrNames (
        lib.filterAttrs (
          # Of one that the host has, its own option tells.
          name: id: id == kind.id && name != kind.owner && !kind.owners ? ${name}
        ) (config.ids."${kind.idOption}s" or { })
      )
    );
  given =
    kind:
    map (ids: "in ${toString ids.first}-${toString ids.last}, the ids that are given to ${ids.to}") (
      lib.filter (ids: kind.id >= ids.first && kind.id <= ids.last) given_ids
    );

  ownId =
    kind:
    let
      whose = holders kind;
    in
    {
      assertion = kind.id == 0 || whose == [ ];
      message = ''
        services.llmhop.vllm.${kind.idOption} is ${toString kind.id}, which is
        ${lib.concatStringsSep " and " whose}: who has it can read what the models have.
        Choose one from 400 to 999 that nobody has.
      '';
    };

  keptId =
    kind:
    let
      whose = kept kind;
    in
    lib.optional (whose != [ ] && !(follows kind && kept uids != [ ])) ''
      services.llmhop.vllm.${kind.idOption} is ${toString kind.id}, which is
      ${lib.concatStringsSep " and " whose}: once that service is turned on, it can read what
      the models have. Choose one from 400 to 999 that nobody has.
    '';
in
{
  config = lib.mkIf cfg.enable {
    assertions = map ownId kinds;
    warnings = lib.concatMap keptId kinds;
  };
}
