# Declarations of the NixOS options that the module sets or reads, typed as in
# nixpkgs and closed: a definition that NixOS would refuse is refused here.
{ containerToolkit }:
{ lib, ... }:
let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };
  attrsOf = type: option (types.attrsOf type) { };
  required = type: mkOption { inherit type; };
  submodule = options: types.submodule { inherit options; };
  unitValue = types.oneOf [
    types.bool
    types.int
    types.str
    types.path
    (types.listOf types.str)
  ];
  overrideStrategy = types.enum [
    "asDropinIfExists"
    "asDropin"
  ];
  unit = {
    description = option types.singleLineStr "";
    after = option (types.listOf types.nonEmptyStr) [ ];
    before = option (types.listOf types.nonEmptyStr) [ ];
    wants = option (types.listOf types.nonEmptyStr) [ ];
    requires = option (types.listOf types.nonEmptyStr) [ ];
    wantedBy = option (types.listOf types.nonEmptyStr) [ ];
    unitConfig = attrsOf unitValue;
    startLimitBurst = required types.int;
    startLimitIntervalSec = required types.int;
    overrideStrategy = option overrideStrategy "asDropinIfExists";
  };
  service = unit // {
    path = option (types.listOf (types.either types.package types.str)) [ ];
    environment = attrsOf (types.nullOr types.str);
    serviceConfig = attrsOf unitValue;
    restartIfChanged = option types.bool true;
    restartTriggers = option (types.listOf types.unspecified) [ ];
  };
  socket = {
    inherit (unit) description unitConfig wantedBy;
    listenStreams = option (types.listOf types.str) [ ];
    socketConfig = attrsOf unitValue;
  };
  range =
    start:
    submodule {
      ${start} = required types.int;
      count = option types.int 1;
    };
  user = {
    description = option types.str "";
    uid = option (types.nullOr types.int) null;
    group = option types.str "";
    extraGroups = option (types.listOf types.str) [ ];
    home = option types.path "/var/empty";
    isSystemUser = option types.bool false;
    isNormalUser = option types.bool false;
    linger = option (types.nullOr types.bool) null;
    autoSubUidGidRange = option types.bool false;
    subUidRanges = option (types.listOf (range "startUid")) [ ];
    subGidRanges = option (types.listOf (range "startGid")) [ ];
  };
  group.gid = option (types.nullOr types.int) null;
  file = {
    source = required types.path;
    mode = option types.str "symlink";
  };
  assertion = {
    assertion = required types.bool;
    message = required types.str;
  };
  tmpfile = {
    mode = option types.str "-";
    user = option types.str "-";
    group = option types.str "-";
    age = option types.str "-";
    argument = option types.str "";
  };
  stand-in = import ./packages.nix { inherit lib; };
in
{
  options = {
    assertions = option (types.listOf (submodule assertion)) [ ];
    warnings = option (types.listOf types.str) [ ];
    environment.systemPackages = option (types.listOf types.package) [ ];
    environment.etc = attrsOf (submodule file);
    users.users = attrsOf (submodule user);
    users.groups = attrsOf (submodule group);
    systemd.package = option types.package (stand-in.derivation "systemd");
    systemd.services = attrsOf (submodule service);
    systemd.sockets = attrsOf (submodule socket);
    systemd.user.services = attrsOf (submodule service);
    systemd.tmpfiles.settings = attrsOf (types.attrsOf (types.attrsOf (submodule tmpfile)));
    networking.firewall.allowedTCPPorts = option (types.listOf types.port) [ ];
    virtualisation.podman.enable = option types.bool false;
    virtualisation.podman.package = option types.package (stand-in.derivation "podman");
  }
  # Small evaluations do not declare this one.
  // lib.optionalAttrs containerToolkit {
    hardware.nvidia-container-toolkit.enable = option types.bool false;
  };

  config._module.args.pkgs = stand-in.pkgs;
}
