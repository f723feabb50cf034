# The unix sockets that llmhop would have to make itself: its service may write nowhere but
# below its own directories.
{ config, lib, ... }:
let
  cfg = config.services.llmhop;
  inherit (import ../lib/paths.nix { inherit lib; }) isWithin plain;
  own = import ../lib/listen.nix {
    inherit lib;
    inherit (cfg) settings;
  };

  inherit (config.systemd.services.llmhop) serviceConfig;
  words =
    key:
    lib.filter (word: word != "") (
      lib.concatMap (line: lib.splitString " " (toString line)) (lib.toList (serviceConfig.${key} or [ ]))
    );
  # `a:b` is `a`, with a link to it, and a `-` or `+` says how a path is taken (systemd.exec(5)).
  below = place: name: "${place}/${lib.head (lib.splitString ":" name)}";
  bare = path: lib.removePrefix "+" (lib.removePrefix "-" path);
  writable =
    map (below "/run") (words "RuntimeDirectory")
    ++ map (below "/var/lib") (words "StateDirectory")
    ++ map bare (words "ReadWritePaths");

  isClosed =
    socket: !lib.any (directory: isWithin (plain socket) (plain directory)) writable;
  isHardened = serviceConfig.ProtectSystem or null == "strict";
in
{
  config.assertions =
    lib.optionals (cfg.enable && own.areRight && own.streams == null && isHardened)
      (
        map (socket: {
          assertion = !isClosed socket;
          message = ''
            ${own.option} has the unix socket ${socket}, which llmhop.service may not make, and
            systemd opens none for it beside a host name or port 0. Name addresses such as
            127.0.0.1 and ports, or put the socket in /run/llmhop.
          '';
        }) own.sockets
      );
}
