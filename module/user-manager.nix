# What the service manager of the models' user needs to run them.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (config.services.llmhop) vllm;
  uid = toString vllm.uid;

  host = import ./lib/host.nix { inherit lib; };
  podman = host.containers_conf;
  mounts = lib.concatStringsSep "\n" (
    lib.mapAttrsToList (key: paths: "${key}=${lib.concatStringsSep " " paths}") (
      import ./lib/mounts.nix { inherit lib vllm; }
    )
  );
  userManager = ''
    [Unit]
    Wants=network-online.target
    After=${lib.concatStringsSep " " host.device_services}
    ${mounts}
    # Or a switch to a system without it would stop every model.
    X-StopOnRemoval=false

    [Service]
    # So would a restart.
    X-RestartIfChanged=false
    # systemd clamps a unit's limits to the hard limits of its manager, 524288
    # by default.
    LimitNOFILE=${toString vllm.openFilesLimit}
    Environment=CONTAINERS_CONF_OVERRIDE=/etc/${podman.path}
  '';

  # A user's manager gives its own environment to its units, but for PATH. Each
  # model first runs a podman that is found here, and the note of its start takes
  # systemctl, cat and stat. A unit that sets its own PATH keeps it, such as one of
  # an administrator whose name begins alike.
  models = ''
    [Service]
    ExecSearchPath=${
      lib.makeBinPath [
        config.virtualisation.podman.package
        config.systemd.package
        pkgs.coreutils
      ]
    }
  '';

  # Podman gives them to its containers too (containers.conf(5), http_proxy). Added, so
  # that others in an administrator's containers.conf stay.
  proxies = lib.mapAttrsToList (name: value: builtins.toJSON "${name}=${toString value}") (
    config.networking.proxy.envVars or { }
  );
  engine = lib.optionalString (proxies != [ ]) ''
    env = [${lib.concatStringsSep ", " proxies}, {append = true}]
  '';
in
{
  config = lib.mkIf vllm.enable {
    # Under a name of its own: NixOS calls its drop-ins of `user@` and of an
    # instance alike, and one for the instance would take the other's place.
    systemd.packages = [
      (pkgs.writeTextDir "lib/systemd/system/user@${uid}.service.d/llmhop.conf" userManager)
      (pkgs.writeTextDir "lib/systemd/user/${host.unit_prefix}.service.d/llmhop.conf" models)
    ];

    # What the manager starts at boot. A switch starts default.target of each
    # manager while failed models are reset and nothing new is there; it does
    # not follow an active target in between, which it leaves alone.
    systemd.user.targets.${host.models_target} = {
      description = "Models of llmhop";
      wantedBy = [ "default.target" ];
      unitConfig.X-OnlyManualStart = true;
    };

    # Its last table is the one of `env`.
    environment.etc.${podman.path}.text = podman.text + engine;

    # Quadlet makes every rootless unit wait for this one, which polls
    # `systemctl is-active network-online.target`. It comes without a path that has
    # sleep, and would wait until it times out; what NixOS gives to every service does.
    systemd.user.services.podman-user-wait-network-online.overrideStrategy = "asDropin";
  };
}
