# Units with the types, the closed sets of options and the checks of nixpkgs
# (nixos/lib/systemd-{unit-options,lib}.nix, nixos/modules/system/boot/systemd.nix).
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };

  unitName = types.strMatching "[a-zA-Z0-9@%:_.\\-]+[.](service|socket|device|mount|automount|swap|target|path|timer|scope|slice)";
  unitNames = option (types.listOf unitName) [ ];
  flag = option types.bool;

  primitive = types.oneOf [
    types.bool
    types.int
    types.float
    types.str
    types.path
    types.package
  ];
  # Lists, which repeat a key, merge with lists, and one value only with itself.
  unitOption = types.either primitive (types.listOf primitive);
  section = option (types.attrsOf unitOption) { };

  # What may stand in [Service], as far as nixpkgs looks at it.
  oneOf =
    key: allowed: service:
    !(service ? ${key}) || lib.isAttrs service.${key} || lib.elem service.${key} allowed;
  serviceSection = option (types.addCheck (types.attrsOf unitOption) (
    service:
    oneOf "Type" [
      "exec"
      "simple"
      "forking"
      "oneshot"
      "dbus"
      "notify"
      "notify-reload"
      "idle"
    ] service
    && oneOf "Restart" [
      "no"
      "on-success"
      "on-failure"
      "on-abnormal"
      "on-abort"
      "always"
    ] service
  )) { };

  unit = {
    enable = flag true;
    overrideStrategy = option (types.enum [
      "asDropinIfExists"
      "asDropin"
    ]) "asDropinIfExists";
    description = option types.singleLineStr "";
    startLimitBurst = mkOption { type = types.int; };
    startLimitIntervalSec = mkOption { type = types.int; };
    restartTriggers = option (types.listOf types.unspecified) [ ];
    reloadTriggers = option (types.listOf unitOption) [ ];
    unitConfig = section;
  }
  // lib.genAttrs [
    "after"
    "aliases"
    "before"
    "bindsTo"
    "conflicts"
    "onFailure"
    "onSuccess"
    "partOf"
    "requiredBy"
    "requires"
    "requisite"
    "upheldBy"
    "upholds"
    "wantedBy"
    "wants"
  ] (_: unitNames);

  service =
    unit
    // lib.genAttrs [
      "postStart"
      "postStop"
      "preStart"
      "preStop"
      "reload"
      "script"
    ] (_: option types.lines "")
    // {
      enableStrictShellChecks = flag false;
      environment = option (types.attrsOf (
        types.nullOr (
          types.oneOf [
            types.str
            types.path
            types.package
          ]
        )
      )) { };
      notSocketActivated = flag false;
      path = option (types.listOf (types.either types.package types.str)) [ ];
      reloadIfChanged = flag false;
      restartIfChanged = flag true;
      scriptArgs = option types.str "";
      serviceConfig = serviceSection;
      startAt = option (types.either types.str (types.listOf types.str)) [ ];
      stopIfChanged = flag true;
    };

  socket = unit // {
    listenDatagrams = option (types.listOf types.str) [ ];
    listenStreams = option (types.listOf types.str) [ ];
    socketConfig = section;
  };

  units = options: option (types.attrsOf (types.submodule { inherit options; })) { };

  warningsOf =
    name: unit:
    lib.optional (
      lib.elem "network-online.target" unit.after
      && !lib.elem "network-online.target" (unit.wants ++ unit.requires ++ unit.bindsTo)
    ) "${name} is ordered after 'network-online.target' but doesn't depend on it"
    ++ lib.optional (
      unit.serviceConfig.Type or "" == "oneshot"
      && lib.elem (unit.serviceConfig.Restart or "no") [
        "always"
        "on-success"
      ]
    ) "${name} with 'Type=oneshot' cannot have 'Restart=always' or 'Restart=on-success'"
    ++ lib.optional (
      unit.serviceConfig ? StartLimitInterval
    ) "${name} uses the attribute 'StartLimitInterval' in the Service section";
in
{
  options.systemd = {
    services = units service;
    sockets = units socket;
    user.services = units service;
    user.targets = units unit;
    packages = option (types.listOf types.package) [ ];
  };

  config.warnings = lib.concatLists (
    lib.mapAttrsToList (name: warningsOf "${name}.service") config.systemd.services
  );
}
