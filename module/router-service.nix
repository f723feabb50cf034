# The router's service and its sockets.
{ config, lib, ... }:
let
  cfg = config.services.llmhop;
  host = import ./lib/host.nix { inherit lib; };
  inherit (host) router;
  routerConfig = "${host.state_dir}/llmhop.json";
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
        inherit (router) description;
        wantedBy = [ "multi-user.target" ];
        wants = [ "network-online.target" ];
        requires = sockets;
        # Not after the generator: that one waits for the models, and starts
        # or reloads this service as soon as the config is written.
        after = [ "network-online.target" ] ++ sockets;
        # Or a switch would close its sockets in its first phase, and open them in
        # its last. Where their addresses change, the generator restarts them.
        stopIfChanged = false;
        unitConfig.ConditionPathExists = [ routerConfig ];
        startLimitBurst = router.limits.StartLimitBurst;
        startLimitIntervalSec = router.limits.StartLimitIntervalSec;
        serviceConfig =
          router.service
          // router.hardening
          // {
            ExecStart = "${llmhop} --config ${routerConfig}";
            # systemd sends SIGHUP itself, and the router keeps its old config
            # where the new one is wrong. The check makes that reload fail. It has
            # no credentials, as no command of a unit but those of its start; what
            # is wrong with them the router says in its status.
            ExecReload = "${llmhop} --check --without-secrets --config ${routerConfig}";
            User = router.user;
            Group = router.user;
          };
      };
    })

    (lib.mkIf (cfg.enable && cfg.openFirewall) {
      networking.firewall.allowedTCPPorts = own.publicPorts;
      warnings = lib.optional (own.areRight && own.publicPorts == [ ]) ''
        services.llmhop.openFirewall opens no port, because llmhop listens on
        nothing but loopback or unix sockets (${own.option}). Set
        services.llmhop.settings.listen = ":8080" to serve the network, or leave
        openFirewall out.
      '';
    })

    # Where vLLM is off as well, the module is, and says nothing.
    (lib.mkIf (cfg.vllm.enable && !cfg.enable && cfg.openFirewall) {
      warnings = [
        ''
          services.llmhop.openFirewall opens no port, because services.llmhop.enable is
          false, and the models listen on 127.0.0.1 alone. Turn llmhop on, or leave
          openFirewall out.
        ''
      ];
    })

    (lib.mkIf (cfg.enable && hasSocket) {
      systemd.sockets.llmhop = {
        description = "llmhop's sockets";
        wantedBy = [ "sockets.target" ];
        # Without its configuration llmhop could not take the clients.
        unitConfig.ConditionPathExists = [ routerConfig ];
        listenStreams = own.streams;
        socketConfig = router.socket // {
          SocketUser = router.user;
          SocketGroup = router.user;
          SocketMode = own.socketMode;
        };
      };
    })
  ];
}
