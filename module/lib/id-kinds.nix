# UIDs and GIDs are checked alike; this is what differs between the two.
{ config, lib }:
let
  cfg = config.services.llmhop.vllm;
  inherit (import ./accounts.nix { inherit config lib; }) users groups;
  # Without the one that is declared for the models under another name.
  others = own: lib.filterAttrs (name: account: name != own && account.key != own);
  show = first: count: "${toString first}-${toString (first + count - 1)}";

  kind =
    names:
    names
    // {
      id = cfg.${names.idOption};
      owner = cfg.${names.ownerOption};
      start = cfg.${names.startOption};
      count = cfg.${names.countOption};
      # How a message about the range begins.
      range =
        let
          range = show cfg.${names.startOption} cfg.${names.countOption};
        in
        "services.llmhop.vllm.${names.startOption} gives the range ${range}";
      # The declared ranges of a user, as { start, count, shown }.
      rangesOf =
        name:
        map (r: {
          start = r.${names.rangeStart};
          inherit (r) count;
          shown = show r.${names.rangeStart} r.count;
        }) users.${name}.${names.rangesOption};
    };
in
[
  (kind {
    idOption = "uid";
    ownerOption = "user";
    startOption = "subUidStart";
    countOption = "subUidCount";
    rangesOption = "subUidRanges";
    rangeStart = "startUid";
    file = "subuid";
    owners = others cfg.user users;
  })
  (kind {
    idOption = "gid";
    ownerOption = "group";
    startOption = "subGidStart";
    countOption = "subGidCount";
    rangesOption = "subGidRanges";
    rangeStart = "startGid";
    file = "subgid";
    owners = others cfg.group groups;
  })
]
