# A user that the deployer declares has to be what the containers' id mappings
# expect.
{ config, lib, ... }:
let
  cfg = config.services.llmhop.vllm;
  inherit (config.users) users;
  kinds = import ./id-kinds.nix { inherit config lib; };
  kept = import ./kept-subordinate-ids.nix { inherit config lib; };
  declared = users ? ${cfg.user};
  own = users.${cfg.user};
  uid = if own.uid == null then "not set" else toString own.uid;

  covered =
    kind:
    (own.autoSubUidGidRange && kept)
    || lib.any (r: r.start <= kind.start && kind.start + kind.count <= r.start + r.count) (
      kind.rangesOf cfg.user
    );
in
{
  config = lib.mkIf (cfg.enable && cfg.user != "vllm") {
    assertions = [
      {
        assertion = declared;
        message = ''
          services.llmhop.vllm.user is `${cfg.user}`, which the module does not
          declare. Declare users.users.${cfg.user} and users.groups.${cfg.group},
          or leave the option at `vllm`.
        '';
      }
      {
        assertion = declared -> own.uid == cfg.uid;
        message = ''
          services.llmhop.vllm.uid is ${toString cfg.uid}, but users.users.${cfg.user}.uid
          is ${uid}. Set both to the same number.
        '';
      }
    ]
    ++ map (kind: {
      assertion = declared -> covered kind;
      message = ''
        ${kind.range}, which users.users.${cfg.user}.${kind.rangesOption} does not
        contain, so that Podman may not map it. Add the range there.
      '';
    }) kinds;

    warnings = lib.optional (declared && own.linger != true) ''
      services.llmhop.vllm.user is `${cfg.user}`, whose linger is not turned on:
      without it the models stop at the user's last logout and do not start at
      boot. Set users.users.${cfg.user}.linger = true.
    '';
  };
}
