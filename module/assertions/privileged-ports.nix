# Ports that only root may open (ip(7)): the containers are rootless, and llmhop
# has no capabilities. Those that systemd opens for llmhop may be any.
{ config, lib, ... }:
let
  cfg = config.services.llmhop;
  sysctl = "net.ipv4.ip_unprivileged_port_start";
  given = config.boot.kernel.sysctl.${sysctl} or null;
  start = if given == null then 1024 else lib.toIntBase10 (toString given);
  mayListen = port: port == 0 || port >= start;
  wayOut = port: ''
    Set a port from ${toString (lib.max start 1024)} on, or
    boot.kernel.sysctl."${sysctl}" = ${toString port}.
  '';

  models = lib.filterAttrs (_: model: model.enable) cfg.vllm.models;
  modelOption = import ../lib/model-option-path.nix { inherit lib; };
  own = import ../lib/listen.nix {
    inherit lib;
    inherit (cfg) settings;
  };
in
{
  config.assertions =
    lib.optionals cfg.vllm.enable (
      lib.mapAttrsToList (key: model: {
        assertion = mayListen model.port;
        message = ''
          ${modelOption key "port"} is ${toString model.port}, below ${toString start}, where
          ${cfg.vllm.user} may not listen. ${wayOut model.port}
        '';
      }) models
    )
    ++ lib.optionals (cfg.enable && own.streams == null) (
      map (port: {
        assertion = mayListen port;
        message = ''
          ${own.option} has port ${toString port}, below ${toString start}, where llmhop
          may not listen, and systemd opens no host names for it. Name addresses such
          as 127.0.0.1. ${wayOut port}
        '';
      }) (lib.unique own.ports)
    );
}
