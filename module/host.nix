# What only NixOS can declare for rootless Podman: the user and its ids,
# directories, and Podman.
{
  config,
  lib,
  ...
}:
let
  cfg = config.services.llmhop;
  inherit (cfg) vllm;
  uid = toString vllm.uid;
  gid = toString vllm.gid;
  host = import ./lib/host.nix { inherit lib; };
  inherit (import ./lib/paths.nix { inherit lib; }) isHome;
  inherit (import ./lib/unit-text.nix { inherit lib; }) tmpfile;
  quadletDir = "${host.state_dir}/quadlet";

  # By number: with systemd-sysusers or userborn names may resolve later.
  ownedByUser = mode: {
    inherit mode;
    user = uid;
    group = gid;
  };
  ownedByRoot = {
    mode = "0755";
    user = "root";
    group = "root";
  };
in
{
  config = lib.mkMerge [
    (lib.mkIf (cfg.enable || vllm.enable) {
      systemd.tmpfiles.settings."10-llmhop".${host.state_dir}.d = ownedByRoot;
    })

    (lib.mkIf vllm.enable {
      # The module of Podman also links its user generator (through
      # systemd.packages, NixOS 24.11 and later) and puts newuidmap on the path
      # of the podman command. Declaring systemd.user.generators here as well
      # would make two links of one name and fail the build.
      virtualisation.podman.enable = true;

      # Each by itself, or two that are one would end the evaluation before the
      # assertion that names them.
      systemd.tmpfiles.settings."10-llmhop" = lib.mkMerge [
        { ${tmpfile (toString vllm.dataDir)}.d = ownedByUser "0700"; }
        { ${tmpfile (toString vllm.cacheDir)}.d = ownedByUser "0750"; }
        { ${quadletDir}.d = ownedByRoot; }
      ];

      # Where rootless Podman looks for units that are not the user's own. /etc
      # may be read-only, so the units live elsewhere. The source is a string,
      # not a path: it stays a link to the host's directory. It is no link in the
      # place of the number itself: Podman's generator compares that with what it
      # resolves to, and every user's manager would have these models.
      environment.etc."containers/systemd/users/${uid}/llmhop".source = quadletDir;
    })

    # Under another name the user is the deployer's.
    (lib.mkIf (vllm.enable && vllm.user == "vllm") {
      users.users.vllm = {
        description = "vLLM model server";
        isSystemUser = true;
        inherit (vllm) group uid;
        # What is no home for NixOS, the build refuses by its own option.
        home = lib.mkIf (isHome vllm.dataDir) (toString vllm.dataDir);
        # Its units run without a login, from boot on.
        linger = true;
        autoSubUidGidRange = false;
        subUidRanges = [
          {
            startUid = vllm.subUidStart;
            count = vllm.subUidCount;
          }
        ];
        subGidRanges = [
          {
            startGid = vllm.subGidStart;
            count = vllm.subGidCount;
          }
        ];
      };
      # Where the group is another's, an assertion tells of two gids.
      users.groups.${vllm.group}.gid = lib.mkDefault vllm.gid;
    })

    (lib.mkIf cfg.enable {
      # A static user: the generator gives the router's config to its group.
      users.users.${host.router.user} = {
        description = "llmhop router";
        isSystemUser = true;
        group = host.router.user;
      };
      users.groups.${host.router.user} = { };
    })
  ];
}
