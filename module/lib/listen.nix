# What llmhop listens on, as its settings say. The router reports addresses
# that are wrong; here they are passed over.
{ lib, settings }:
let
  defaults = (import ./host.nix { inherit lib; }).listen;
  listen = settings.listen or null;
  given =
    key: isRight: default:
    if isRight (settings.${key} or null) then settings.${key} else default;
  host = given "host" lib.isString defaults.host;
  bracketed = if lib.hasInfix ":" host then "[${host}]" else host;
  addresses =
    if listen == null then
      [ "${bracketed}:${toString (given "port" lib.isInt defaults.port)}" ]
    else
      lib.filter lib.isString (lib.toList listen);

  inherit (import ./unit-text.nix { inherit lib; }) literal;
  split = builtins.match defaults.address;
  socketPath = lib.removePrefix "unix:";
  isSocket = lib.hasPrefix "unix:/";
  portOf = address: lib.toIntBase10 (lib.last (split address));

  # As ListenStream= takes it (systemd.socket(5)); null where it takes none.
  stream =
    address:
    let
      parts = split address;
      ip = builtins.match defaults.ip (lib.head parts);
      port = toString (portOf address);
    in
    if isSocket address then
      literal (socketPath address)
    else if !isTcp address || portOf address == 0 || ip == null then
      null
    else if lib.head parts == "" then
      port
    else
      "${lib.head parts}:${port}";
  streams = map stream addresses;

  isTcp = address: !isSocket address && split address != null && portOf address <= 65535;
  tcp = lib.filter isTcp addresses;
  # 127.0.0.0/8, ::1 also within IPv4's range, and the name of either.
  isLoopback =
    address:
    builtins.match "localhost|127\\.[0-9.]*|\\[(0*:)*0*1]|\\[::ffff:127\\..*" (lib.head (split address))
    != null;
in
{
  option = "services.llmhop.settings.${if listen != null then "listen" else "port"}";

  # Whether each is one, as far as the module reads them; the build tells what is wrong.
  areRight = addresses != [ ] && lib.all (address: isSocket address || isTcp address) addresses;

  ports = map portOf tcp;

  sockets = map socketPath (lib.filter isSocket addresses);

  # Those that it may have on 127.0.0.1, where the models are published.
  loopbackPorts = map portOf (
    lib.filter (address: builtins.match defaults.takes_loopback (lib.head (split address)) != null) tcp
  );

  # Those that the network can reach; 0 stands for any.
  publicPorts = lib.remove 0 (map portOf (lib.filter (address: !isLoopback address) tcp));

  socketMode = given "socketMode" lib.isString defaults.socket_mode;

  # null where systemd can't open all of them, such as one with a host name:
  # then llmhop opens its sockets itself.
  streams = if lib.elem null streams || streams == [ ] then null else streams;
}
