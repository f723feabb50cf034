# What NixOS makes of an evaluated configuration below /etc, and what it has
# beside that for users and directories: for a host that goes through a switch.
# Units are written as nixpkgs writes them (nixos/lib/systemd-lib.nix).
{ lib, config }:
let
  value =
    v:
    if v == true then
      "true"
    else if v == false then
      "false"
    else
      toString v;
  line = key: v: "${key}=${value v}\n";
  lines = section: lib.concatStrings (lib.mapAttrsToList (key: v: lib.concatMapStrings (line key) (lib.toList v)) section);
  words = key: names: lib.optionalAttrs (names != [ ]) { ${key} = lib.concatStringsSep " " names; };

  unitSection =
    u:
    "[Unit]\n"
    + lines (
      lib.optionalAttrs (u.description != "") { Description = u.description; }
      // words "After" u.after
      // words "Before" u.before
      // words "BindsTo" u.bindsTo
      // words "PartOf" u.partOf
      // words "Requires" u.requires
      // words "Wants" u.wants
      // words "X-Restart-Triggers" (map toString u.restartTriggers)
      // u.unitConfig
    );
  limits =
    options:
    lib.optionalString options.startLimitBurst.isDefined (
      line "StartLimitBurst" options.startLimitBurst.value
      + line "StartLimitIntervalSec" options.startLimitIntervalSec.value
    );

  serviceSection =
    s:
    "\n[Service]\n"
    + lib.concatStrings (lib.mapAttrsToList (name: v: "Environment=\"${name}=${toString v}\"\n") s.environment)
    + lib.optionalString (s.path != [ ]) (
      "Environment=\"PATH=${
        lib.concatMapStringsSep ":" (p: "${p}/bin") s.path
      }:${lib.concatMapStringsSep ":" (p: "${p}/sbin") s.path}\"\n"
    )
    + lib.optionalString (!s.restartIfChanged) "X-RestartIfChanged=false\n"
    + lib.optionalString (!s.stopIfChanged) "X-StopIfChanged=false\n"
    + lines s.serviceConfig;

  socketSection =
    s: "\n[Socket]\n" + lib.concatMapStrings (line "ListenStream") s.listenStreams + lines s.socketConfig;
in
{ }
