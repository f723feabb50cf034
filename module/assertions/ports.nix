# The ports of models and of llmhop: one message for each port, whatever is wrong with it.
# Those below the start of unprivileged ports only root may open (ip(7)): the containers
# are rootless, and llmhop has no capabilities. Those that systemd opens for llmhop may
# be any.
{ config, lib, ... }:
let
  cfg = config.services.llmhop;
  inherit (cfg.vllm) models;
  modelOption = import ../lib/model-option-path.nix { inherit lib; };
  own = import ../lib/listen.nix {
    inherit lib;
    inherit (cfg) settings;
  };

  sysctl = "net.ipv4.ip_unprivileged_port_start";
  given = config.boot.kernel.sysctl.${sysctl} or null;
  # As NixOS writes it: `false` is 0.
  text = if given == false then "0" else toString given;
  isNumber = builtins.match "[0-9]{1,5}" text != null;
  start = if given == null || !isNumber then 1024 else lib.toIntBase10 text;
  isPrivileged = port: port != 0 && port < start;
  wayOut = port: ''
    from ${toString (lib.max start 1024)} on, or set
    boot.kernel.sysctl."${sysctl}" = ${toString port}.
  '';

  enabled = lib.filter (key: models.${key}.enable) (lib.attrNames models);
  ofPort =
    shown: keys:
    let
      port = lib.toIntBase10 shown;
      several = lib.length keys > 1;
      options = lib.concatMapStringsSep " and " (key: modelOption key "port") keys;
      isOwn = cfg.enable && lib.elem port own.loopbackPorts;
      what =
        if port == 0 then
          ", which stands for any free port, so that llmhop could not find the model"
        else if isOwn then
          ", a port on which llmhop listens (${own.option})"
        else if isPrivileged port then
          ", below ${toString start}, where ${cfg.vllm.user} may not listen"
        else
          "";
      todo =
        if several then
          "Give each enabled model a port of its own"
        else if isOwn then
          "Change one of the two"
        else
          "Set a port";
    in
    {
      assertion = !several && what == "";
      message = ''
        ${options} ${if several then "are all" else "is"} ${shown}${what}. ${todo}${
          if port == 0 then
            " from 1 to 65535."
          else if isPrivileged port && !isOwn then
            " ${wayOut port}"
          else
            "."
        }
      '';
    };
in
{
  config.assertions =
    lib.optionals cfg.vllm.enable (
      lib.mapAttrsToList ofPort (lib.groupBy (key: toString models.${key}.port) enabled)
    )
    ++ lib.optionals (cfg.enable && own.streams == null) (
      map (port: {
        assertion = !isPrivileged port;
        message = ''
          ${own.option} has port ${toString port}, below ${toString start}, where llmhop
          may not listen, and systemd opens no host names for it. Name addresses such
          as 127.0.0.1, or set a port ${wayOut port}
        '';
      }) (lib.unique own.ports)
    )
    ++ lib.optional (cfg.vllm.enable || cfg.enable) {
      assertion = given == null || isNumber;
      message = ''
        boot.kernel.sysctl."${sysctl}" is `${text}`, which is no port, and
        nobody could tell which ports models may have. Set a whole number, or leave it out.
      '';
    };
}
