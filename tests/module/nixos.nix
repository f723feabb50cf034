# Declarations of the NixOS options that the module sets or reads, typed as in
# nixpkgs and closed: a definition that NixOS would refuse is refused here.
{ containerToolkit }:
{
  config,
  lib,
  ...
}:
let
  inherit (lib) mkOption types;
  toolkit = config.hardware.nvidia-container-toolkit or { enable = false; };
  option = type: default: mkOption { inherit type default; };
  flag = option types.bool;
  submodule = options: types.submodule { inherit options; };
  stand-in = import ./packages.nix { inherit lib; };

  # nixos/modules/system/etc/etc.nix
  etcFile =
    {
      name,
      config,
      options,
      ...
    }:
    {
      options = {
        enable = flag true;
        target = mkOption { type = types.str; };
        text = option (types.nullOr types.lines) null;
        source = mkOption { type = types.path; };
        mode = option types.str "symlink";
        uid = option types.int 0;
        gid = option types.int 0;
        user = option types.str "+${toString config.uid}";
        group = option types.str "+${toString config.gid}";
      };
      config = {
        target = lib.mkDefault name;
        source = lib.mkIf (config.text != null) (
          lib.mkDerivedConfig options.text (stand-in.pkgs.writeText "etc-${baseNameOf name}")
        );
      };
    };

  # nixos/modules/system/boot/systemd/tmpfiles.nix
  tmpfile =
    { name, ... }:
    {
      options = {
        type = option types.str name;
        mode = option types.str "-";
        user = option types.str "-";
        group = option types.str "-";
        age = option types.str "-";
        argument = option types.str "";
      };
    };
in
{
  imports = [
    ./systemd-options.nix
    ./user-units.nix
    ./userborn.nix
    ./users-options.nix
  ]
  # Small evaluations do not declare this one.
  ++ lib.optional containerToolkit {
    options.hardware.nvidia-container-toolkit = {
      enable = flag false;
      suppressNvidiaDriverAssertion = flag false;
    };
  };

  options = {
    assertions = option (types.listOf (submodule {
      assertion = mkOption { type = types.bool; };
      message = mkOption { type = types.str; };
    })) [ ];
    warnings = option (types.listOf types.str) [ ];

    environment.systemPackages = option (types.listOf types.package) [ ];
    environment.etc = option (types.attrsOf (types.submodule etcFile)) { };

    # Shell, run before a switch changes anything.
    system.preSwitchChecks = option (types.attrsOf types.str) { };

    # /etc from an image, into which a switch writes nothing where it is not mutable.
    system.etc.overlay = {
      enable = flag false;
      mutable = flag true;
    };

    systemd.package = option types.package (stand-in.derivation "systemd");
    systemd.tmpfiles.rules = option (types.listOf types.str) [ ];
    systemd.tmpfiles.settings = option (types.attrsOf (
      types.attrsOf (types.attrsOf (types.submodule tmpfile))
    )) { };

    # nixos/modules/config/resolvconf.nix: which services there are depends on the
    # names in /etc, so those must not depend on services.
    networking.resolvconf.enable = flag (!(config.environment.etc ? "resolv.conf"));
    networking.firewall.enable = flag true;
    networking.firewall.allowedTCPPorts = mkOption {
      type = types.listOf types.port;
      default = [ ];
      apply = ports: lib.unique (lib.sort builtins.lessThan ports);
    };

    networking.proxy.envVars = option types.attrs { };
    virtualisation.podman.enable = flag false;
    virtualisation.podman.package = option types.package (stand-in.derivation "podman");

    boot.kernel.sysctl = option (types.attrsOf (
      types.nullOr (
        types.oneOf [
          types.bool
          types.str
          types.int
        ]
      )
    )) { };

    hardware.graphics.enable = flag false;
    hardware.nvidia.open = option (types.nullOr types.bool) null;
    services.xserver.videoDrivers = option (types.listOf types.str) [ ];
    nixpkgs.config = option (types.attrsOf types.unspecified) { };
  };

  config = {
    _module.args.pkgs = stand-in.pkgs;
    systemd.services = lib.mkIf config.networking.resolvconf.enable { };

    assertions = [
      {
        assertion =
          toolkit.enable
          -> lib.elem "nvidia" config.services.xserver.videoDrivers || toolkit.suppressNvidiaDriverAssertion;
        message = "`nvidia-container-toolkit` requires nvidia drivers.";
      }
      {
        assertion =
          config.system.etc.overlay.enable && !config.system.etc.overlay.mutable
          -> config.systemd.sysusers.enable || config.services.userborn.enable;
        message = "An immutable /etc needs systemd-sysusers or Userborn.";
      }
    ];
  };
}
