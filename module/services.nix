# The two system services: the router, and the generator that brings the host
# to the configured state at boot and at every switch.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.llmhop;
  generator = pkgs.callPackage ../generator/package.nix { };
  contract = pkgs.writeText "llmhop-contract.json" (
    builtins.toJSON (import ./contract.nix { inherit cfg lib; })
  );
  routerConfig = "/var/lib/llmhop/llmhop.json";
  llmhop = lib.getExe cfg.package;

  own = import ./listen.nix {
    inherit lib;
    inherit (cfg) settings;
  };
  hasSocket = own.streams != null;
  # systemd keeps the sockets open while llmhop restarts, so that clients wait
  # and none is refused.
  sockets = lib.optional hasSocket "llmhop.socket";

  managers = lib.optionals cfg.vllm.enable [
    "systemd-logind.service"
    "linger-users.service"
    "user@${toString cfg.vllm.uid}.service"
  ];
in
{
  config = lib.mkMerge [
    (lib.mkIf (cfg.enable || cfg.vllm.enable) {
      # For administrators: `llmhop-generator status`, and what `validate` reads.
      environment.systemPackages = [ generator ];
      environment.etc."llmhop/contract.json".source = contract;

      systemd.services.llmhop-generator = {
        description = "Apply the configuration of llmhop and its models";
        wantedBy = [ "multi-user.target" ];
        # Activation scripts run before systemd at boot and may not start or
        # restart units. A service can, once the user's manager runs. On the
        # first switch it is linger that starts the manager.
        wants = [ "network-online.target" ] ++ managers;
        after = [ "network-online.target" ] ++ managers;
        path = [
          "/run/wrappers"
          config.systemd.package
        ]
        ++ lib.optional cfg.vllm.enable config.virtualisation.podman.package;
        environment = lib.mkIf cfg.vllm.enable {
          # Podman's own generator, to check the units that were written.
          LLMHOP_QUADLET = "${config.virtualisation.podman.package}/libexec/podman/quadlet";
        };
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          # A changed contract is another store path, so a switch restarts the
          # service just when there is something to apply.
          ExecStart = "${lib.getExe generator} apply ${contract}";
          # It waits for models, which may first be downloaded.
          TimeoutStartSec = "infinity";
          UMask = "0022";
        };
      };
    })

    (lib.mkIf cfg.enable {
      systemd.services.llmhop = {
        description = "llmhop, router for OpenAI-compatible model servers";
        wantedBy = [ "multi-user.target" ];
        wants = [ "network-online.target" ];
        requires = sockets;
        # Not after the generator: that one waits for the models, and starts
        # or reloads this service as soon as the config is written.
        after = [ "network-online.target" ] ++ sockets;
        # A switch leaves sockets as they are, but for those of a service that
        # changed too.
        restartTriggers = lib.optional hasSocket (builtins.toJSON own.streams);
        unitConfig.ConditionPathExists = routerConfig;
        # Five starts that time out take 5 * (15 + 2) s, so the limit trips.
        startLimitBurst = 5;
        startLimitIntervalSec = 120;
        serviceConfig = import ./hardening.nix // {
          Type = "notify-reload";
          ExecStart = "${llmhop} --config ${routerConfig}";
          # systemd sends SIGHUP itself, and the router keeps its old config
          # where the new one is wrong. The check makes that reload fail.
          ExecReload = "${llmhop} --check --config ${routerConfig}";
          User = "llmhop";
          Group = "llmhop";
          # For unix sockets that llmhop makes itself.
          RuntimeDirectory = "llmhop";
          RuntimeDirectoryPreserve = true;
          Restart = "always";
          RestartSec = 2;
          TimeoutStartSec = 15;
          # Requests under way have 30 s to end.
          TimeoutStopSec = 45;
          # An event loop that hangs for as long is killed.
          WatchdogSec = 30;
          # Two sockets for each request under way.
          LimitNOFILE = 524288;
        };
      };
    })

    (lib.mkIf (cfg.enable && hasSocket) {
      systemd.sockets.llmhop = {
        description = "llmhop's sockets";
        wantedBy = [ "sockets.target" ];
        # Without its configuration llmhop could not take the clients.
        unitConfig.ConditionPathExists = routerConfig;
        listenStreams = own.streams;
        socketConfig = {
          Backlog = 4096;
          # At boot an address may come after the socket.
          FreeBind = true;
          SocketUser = "llmhop";
          SocketGroup = "llmhop";
          SocketMode = own.socketMode;
          RemoveOnStop = true;
        };
      };
    })
  ];
}
