# Evaluates configurations with the module, the real module system of nixpkgs
# and declarations of the NixOS options it touches.
{
  lib ? import <nixpkgs/lib>,
  modules ? [ ],
  containerToolkit ? true,
}:
let
  evaluated = lib.evalModules {
    modules = [
      ../../module
      (import ./nixos.nix { inherit containerToolkit; })
      ./secret-managers.nix
      # The driver that some examples need.
      { services.xserver.videoDrivers = [ "nvidia" ]; }
    ]
    ++ modules;
  };
  inherit (evaluated) config;
  oneLine = message: lib.replaceStrings [ "\n" ] [ " " ] (lib.trim message);
in
rec {
  inherit config lib;

  # What NixOS would print in place of building the system, or before it.
  failures = map (a: oneLine a.message) (lib.filter (a: !a.assertion) config.assertions);
  warnings = map oneLine config.warnings;

  # The text that is really written, not the attribute set it is made from.
  contractText = config.environment.etc."llmhop/contract.json".source.text;

  # How it is written; without the path, which Nix would print in place of all else.
  contractBuild = removeAttrs config.environment.etc."llmhop/contract.json".source [ "outPath" ];

  # By which llmhop the generator has settings judged.
  judge = lib.drop 4 (lib.head config.environment.systemPackages).arguments.makeWrapperArgs;

  contract =
    if failures == [ ] then
      builtins.fromJSON contractText
    else
      throw (lib.concatStringsSep "\n" ([ "failed assertions:" ] ++ failures));

  withoutVllm = import ../../module/lib/contract-without-vllm.nix {
    inherit lib;
    cfg = config.services.llmhop;
  };

  generation = import ./generation.nix { inherit config lib; };

  # The options of the module as NixOS' manual would show them.
  options =
    let
      documented = lib.optionAttrSetToDocList evaluated.options.services.llmhop;
    in
    map (o: {
      inherit (o) name type;
      required = !(o ? default);
      default = o.default.text or null;
      example = o.example.text or null;
      description = o.description.text or o.description or null;
    }) (lib.filter (o: o.visible && !o.internal) documented);

  # All that was defined, so that each type is checked.
  everything = builtins.deepSeq [
    host
    config.environment.etc
    config.networking.firewall
    config.systemd.tmpfiles.rules
    config.users
  ] true;

  # What may differ from one kind of NixOS to another.
  kind = {
    inherit contract failures warnings;
    etc = lib.mapAttrs (_: file: [
      "${file.source}"
      file.mode
    ]) config.environment.etc;
    directories = lib.concatMap lib.attrNames (lib.attrValues config.systemd.tmpfiles.settings);
  };
  subids = lib.mapAttrs (_: file: { inherit (file) mode text; }) (
    lib.filterAttrs (
      name: _:
      lib.elem name [
        "subuid"
        "subgid"
      ]
    ) config.environment.etc
  );

  # The parts of the host that tests look at; packages become store paths.
  host = {
    inherit (config) virtualisation;
    users = {
      inherit (config.users) users;
      # But for NixOS's own.
      groups = removeAttrs config.users.groups [ "users" ];
    };
    packages = map (p: "${p}") config.environment.systemPackages;
    etc = lib.mapAttrs (_: e: "${e.source}") config.environment.etc;
    tmpfiles = config.systemd.tmpfiles.settings;
    services = lib.mapAttrs (_: service) config.systemd.services;
    sockets = lib.mapAttrs (_: unit) config.systemd.sockets;
    userServices = lib.mapAttrs (_: service) config.systemd.user.services;
    userTargets = lib.mapAttrs (_: unit) config.systemd.user.targets;
    # The files of packages that are linked among the units, by their path.
    unitFiles = lib.listToAttrs (
      map (p: {
        name = p.path;
        value = p.text;
      }) config.systemd.packages
    );
  };
  service = s: unit s // { path = map (p: "${p}") s.path; };
  # Without what has no value unless it is set.
  unit = lib.flip removeAttrs [
    "startLimitBurst"
    "startLimitIntervalSec"
  ];
}
