# /etc/subuid and /etc/subgid where NixOS does not write them itself: without
# them newuidmap gives the containers no ids. They are whole files, in which everybody's
# ranges have to be.
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
    lib.concatMapStrings (
      name:
      lib.concatMapStrings (range: "${name}:${toString range.start}:${toString range.count}\n") (
        kind.rangesOf name
      )
    ) (lib.attrNames users);

  # NixOS gives these none here, but may have before it was told to make users otherwise.
  automatic = lib.filter (user: user.autoSubUidGidRange) (
    lib.attrValues (removeAttrs users [ cfg.user ])
  );
  # It sets the option itself of every normal user without ranges (users-groups.nix), who need not
  # have any use for one; of others somebody did.
  byDefault = lib.filter (user: user.isNormalUser) automatic;
  asked = lib.filter (user: !user.isNormalUser) automatic;
  message = automatic: ''
    ${lib.concatMapStringsSep " and " (user: "${user.path}.autoSubUidGidRange") automatic} is true,
    and with ${maker} NixOS gives no automatic ranges. /etc/subuid and /etc/subgid, which the
    models need, have the declared ranges alone. Where the two files have no line of that user
    now, set autoSubUidGidRange = false. Where they have one, for containers of that user's own,
    declare it too, as subUidRanges and subGidRanges.
  '';
  maker =
    if config.systemd.sysusers.enable or false then
      "systemd.sysusers.enable"
    else
      "services.userborn.enable";
in
{
  config = lib.mkIf (cfg.enable && !kept && users ? ${cfg.user}) {
    assertions = [
      {
        assertion = asked == [ ];
        message = message asked;
      }
    ];
    warnings = lib.optional (byDefault != [ ]) (message byDefault);

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
