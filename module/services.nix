# The router's service and its sockets.
{ config, lib, ... }:
let
  cfg = config.services.llmhop;
  routerConfig = "/var/lib/llmhop/llmhop.json";
  llmhop = lib.getExe cfg.package;

  own = import ./lib/listen.nix {
    inherit lib;
    inherit (cfg) settings;
  };
  hasSocket = own.streams != null;
  # systemd keeps the sockets open while llmhop restarts, so that clients wait
  # and none is refused.
  sockets = lib.optional hasSocket "llmhop.socket";
in
{
  config = lib.mkMerge [
    (lib.mkIf cfg.enable {
      systemd.services.llmhop = {
        description = "llmhop, router for OpenAI-compatible model servers";
        wantedBy = [ "multi-user.target" ];
        wants = [ "network-online.target" ];
        requires = sockets;
        # Not after the generator: that one waits for the models, and starts
        # or reloads this service as soon as the config is written.
        after = [ "network-online.target" ] ++ sockets;
        # Or a switch would close its sockets in its first phase, and open them in
        # its last. Where their addresses change, the generator restarts them.
        stopIfChanged = false;
        unitConfig.ConditionPathExists = routerConfig;
        # Five starts that time out take 5 * (15 + 2) s, so the limit trips.
        startLimitBurst = 5;
        startLimitIntervalSec = 120;
        serviceConfig = import ./lib/hardening.nix // {
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
          # llmhop asks for more where its drainTimeout is longer.
          TimeoutStopSec = 45;
          # An event loop that hangs for as long is killed.
          WatchdogSec = 30;
          # Two sockets for each request under way.
          LimitNOFILE = 524288;
        };
      };
    })

    (lib.mkIf (cfg.enable && cfg.openFirewall) {
      networking.firewall.allowedTCPPorts = own.publicPorts;
      warnings = lib.optional (own.publicPorts == [ ]) ''
        services.llmhop.openFirewall opens no port, because llmhop listens on
        nothing but loopback or unix sockets (${own.option}). Set
        services.llmhop.settings.listen = ":8080" to serve the network, or leave
        openFirewall out.
      '';
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
