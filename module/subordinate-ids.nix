# /etc/subuid and /etc/subgid where NixOS does not write them itself: without
# them newuidmap gives the containers no ids.
{
  config,
  lib,
  options,
  ...
}:
let
  cfg = config.services.llmhop.vllm;
  inherit (import ./lib/accounts.nix { inherit config lib; }) users;
  kinds = import ./lib/id-kinds.nix { inherit config lib; };
  kept = import ./lib/kept-subordinate-ids.nix { inherit config lib options; };

  ranges =
    kind:
    lib.concatMapStrings (range: "${cfg.user}:${toString range.start}:${toString range.count}\n") (
      kind.rangesOf cfg.user
    );
in
{
  config = lib.mkIf (cfg.enable && !kept && users ? ${cfg.user}) {
    environment.etc = lib.listToAttrs (
      map (
        kind:
        lib.nameValuePair kind.file {
          text = ranges kind;
          # Files, because newuidmap follows no links.
          mode = lib.mkDefault "0444";
        }
      ) kinds
    );
  };
}
