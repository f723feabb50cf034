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
  # `source:target:options`, or one path that is both.
  bound = path: lib.elemAt (lib.splitString ":" path ++ [ path ]) 1;
  writable =
    map (below "/run") (words "RuntimeDirectory")
    ++ map (below "/var/lib") (words "StateDirectory")
    ++ map (below "/var/cache") (words "CacheDirectory")
    ++ map (below "/var/log") (words "LogsDirectory")
    ++ map bare (words "ReadWritePaths" ++ map bound (map bare (words "BindPaths")));

  # What a specifier stands for, only the host knows.
  isOpen =
    socket: directory: lib.hasInfix "%" directory || isWithin (plain socket) (plain directory);
  isClosed = socket: !lib.any (isOpen socket) writable;
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
