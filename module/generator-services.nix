# The services that run llmhop-generator: at boot before the models start, at boot
# and at every switch to bring the host to the configured state, and at the end.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.llmhop;
  host = import ./lib/host.nix { inherit lib; };
  inherit (import ./lib/unit-text.nix { inherit lib; }) literal;
  command = lib.getExe cfg.generatorPackage;

  environment = {
    LLMHOP_COMMAND = lib.getExe cfg.package;
  }
  // lib.optionalAttrs cfg.vllm.enable {
    LLMHOP_QUADLET = "${config.virtualisation.podman.package}/libexec/podman/quadlet";
  };
  contract = import ./lib/contract-file.nix { inherit config lib pkgs; };

  withoutVllm = pkgs.writeText "llmhop-without-vllm.json" (
    builtins.toJSON (import ./lib/contract-without-vllm.nix { inherit cfg lib; })
  );

  userManager = "user@${toString cfg.vllm.uid}.service";
  managers = lib.optionals cfg.vllm.enable [
    "systemd-logind.service"
    "linger-users.service"
    userManager
  ];

  models = lib.optional cfg.vllm.enable "llmhop-models.service";

  mounts = lib.optionalAttrs cfg.vllm.enable (
    import ./lib/mounts.nix {
      inherit lib;
      inherit (cfg) vllm;
    }
  );

  common = {
    # systemctl is on every path of NixOS, newuidmap on that of podman's wrapper.
    path = lib.optional cfg.vllm.enable config.virtualisation.podman.package;
    inherit environment;
    serviceConfig = {
      Type = "oneshot";
      UMask = "0022";
    }
    // import ./lib/generator-hardening.nix;
  };
in
{
  config = lib.mkMerge [
    (lib.mkIf (cfg.enable || cfg.vllm.enable) {
      # For administrators: `llmhop-generator status`, and what `validate` reads.
      environment.systemPackages = [ cfg.generatorPackage ];
      environment.etc."llmhop/contract.json".source = contract;

      systemd.services.llmhop-generator = lib.mkMerge [
        common
        {
          description = "Apply the configuration of llmhop and its models";
          wantedBy = [ "multi-user.target" ];
          # Activation scripts run before systemd at boot and may not start or
          # restart units. A service can, once the user's manager runs. On the
          # first switch it is linger that starts the manager.
          wants = [ "network-online.target" ] ++ managers;
          after = [ "network-online.target" ] ++ managers ++ models ++ host.device_services;
          # Who restarts those gets them back.
          partOf = models;
          # It pulls images. NixOS quotes variables, and leaves specifiers to systemd.
          environment = lib.mapAttrs (_: value: lib.mkDefault (literal (toString value))) (
            config.networking.proxy.envVars or { }
          );
          unitConfig = mounts // {
            RequiresMountsFor = [ host.state_dir ] ++ mounts.RequiresMountsFor or [ ];
          };
          serviceConfig = {
            RemainAfterExit = true;
            # A changed contract is another store path, so a switch restarts the
            # service just when there is something to apply. A boot does not wait
            # for models: multi-user.target would come after the last of them.
            ExecStart = "${command} apply ${
              if cfg.waitUntilHealthy then "--no-wait-at-boot" else "--no-wait"
            } ${contract}";
            # It waits for models, which may first be downloaded.
            TimeoutStartSec = "infinity";
          };
        }
      ];
    })

    (lib.mkIf cfg.vllm.enable {
      # The user's manager starts what it finds. After a boot into another
      # generation that would be the units of the one before.
      systemd.services.llmhop-units = lib.mkMerge [
        common
        {
          description = "Put the units of the models in place before their manager starts";
          wantedBy = [ userManager ];
          before = [
            userManager
            "llmhop.service"
          ];
          # For a switch there is llmhop-generator.service.
          restartIfChanged = false;
          unitConfig = {
            RequiresMountsFor = [ host.state_dir ];
          }
          // removeAttrs mounts [ "RequiresMountsFor" ]
          // {
            # A manager that runs is started again, as by logind's restart. It may be
            # re-executed just then, and would not answer.
            ConditionPathExists = [ "!/run/user/${toString cfg.vllm.uid}/systemd/private" ];
          };
          serviceConfig.ExecStart = "${command} apply --files-only ${contract}";
        }
      ];

      # Models are not systemd's to stop when a switch turns vLLM off. It stops
      # this service, as long as their user is there.
      systemd.services.llmhop-models = lib.mkMerge [
        common
        {
          description = "Models of llmhop on this host";
          wantedBy = [ "multi-user.target" ];
          # Which starts them: this one can only end them.
          wants = [ "llmhop-generator.service" ];
          # An update must not end every model.
          restartIfChanged = false;
          # Nor is there anything to do at shutdown.
          unitConfig.DefaultDependencies = false;
          serviceConfig = {
            RemainAfterExit = true;
            ExecStart = lib.getExe' pkgs.coreutils "true";
            ExecStop = "${command} apply ${withoutVllm}";
            # Each model may take its time to end what it serves.
            TimeoutStopSec = "infinity";
          };
        }
      ];
    })
  ];
}
