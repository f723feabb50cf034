# The texts of units, as nixpkgs writes them (nixos/lib/systemd-lib.nix).
{ lib }:
let
  inherit (lib) concatMapStrings concatStringsSep optionalAttrs;
  stand-in = import ./packages.nix { inherit lib; };

  scalar =
    v:
    if v == true then
      "true"
    else if v == false then
      "false"
    else
      toString v;
  line = key: v: "${key}=${scalar v}\n";
  section = name: keys: "[${name}]\n" + keys + "\n";
  keys = set: lib.concatStrings (lib.mapAttrsToList (k: v: concatMapStrings (line k) (lib.toList v)) set);
  words = key: names: optionalAttrs (names != [ ]) { ${key} = concatStringsSep " " names; };
  # These have no default, and none where they are not set.
  optional =
    key: v:
    let
      tried = builtins.tryEval v;
    in
    optionalAttrs tried.success { ${key} = tried.value; };

  unit =
    u:
    section "Unit" (
      keys (
        optionalAttrs (u.description != "") { Description = u.description; }
        // words "After" u.after
        // words "Before" u.before
        // words "PartOf" u.partOf
        // words "Requires" u.requires
        // words "Wants" u.wants
        // words "X-Restart-Triggers" (map toString u.restartTriggers)
        // optional "StartLimitBurst" u.startLimitBurst
        // optional "StartLimitIntervalSec" u.startLimitIntervalSec
        // u.unitConfig
      )
    );

  # nixos/modules/system/boot/systemd.nix adds these to every service.
  defaultPath = map stand-in.derivation [
    "coreutils"
    "findutils"
    "gnugrep"
    "gnused"
    "systemd"
  ];
  service =
    s:
    let
      path = lib.concatMap (bin: map (p: "${p}/${bin}") (s.path ++ defaultPath)) [
        "bin"
        "sbin"
      ];
      environment = s.environment // {
        PATH = concatStringsSep ":" path;
      };
    in
    unit s
    + section "Service" (
      lib.concatStrings (
        lib.mapAttrsToList (k: v: "Environment=${builtins.toJSON "${k}=${toString v}"}\n") environment
      )
      + lib.optionalString (!s.restartIfChanged) "X-RestartIfChanged=false\n"
      + lib.optionalString (!s.stopIfChanged) "X-StopIfChanged=false\n"
      + keys s.serviceConfig
    );
  socket =
    s:
    unit s + section "Socket" (concatMapStrings (line "ListenStream") s.listenStreams + keys s.socketConfig);
in
{
  inherit service socket unit;
}
