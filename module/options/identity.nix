# services.llmhop.vllm: the user whose rootless Podman runs the containers.
{
  config,
  lib,
  ...
}:
let
  inherit (lib) literalExpression mkOption types;
  cfg = config.services.llmhop.vllm;
in
{
  options.services.llmhop.vllm = {
    user = mkOption {
      type = types.str;
      default = "vllm";
      description = ''
        System user that runs the containers, owns the cache directory and is
        root inside the containers. Neither it nor its group may be `root` or
        llmhop's own, `llmhop`.

        Under the default name the module declares the user, its group, its
        subordinate ranges and its linger. Any other user is declared by the
        deployer, as `users.users.<name>` and `users.groups.<name>`: with
        {option}`services.llmhop.vllm.uid` and
        {option}`services.llmhop.vllm.gid` as ids,
        {option}`services.llmhop.vllm.group` as `group`,
        {option}`services.llmhop.vllm.dataDir` as `home`, `linger = true`, and
        `subUidRanges` and `subGidRanges` that contain the ranges set here.
        Where one of these is something else, the build fails.
      '';
    };

    group = mkOption {
      type = types.str;
      default = cfg.user;
      defaultText = literalExpression "config.services.llmhop.vllm.user";
      description = "Primary group of {option}`services.llmhop.vllm.user`.";
    };

    uid = mkOption {
      type = types.ints.unsigned;
      example = 503;
      description = ''
        UID of {option}`services.llmhop.vllm.user`, which root in a container is
        on the host. It has to be fixed, since the containers' id mappings and
        the directory of the Quadlet units contain it, and free: no other user
        may have it, on this host or on one that shares its directories, nor have it
        in a subordinate range. The build refuses what the configuration shows of that. Choose
        one from 400 to 999 that `getent passwd` does not list. NixOS gives
        system users without a fixed id one of these, from 999 downwards; lower
        ones belong to services of nixpkgs, higher ones to people.
      '';
    };

    gid = mkOption {
      type = types.ints.unsigned;
      default = cfg.uid;
      defaultText = literalExpression "config.services.llmhop.vllm.uid";
      description = "GID of {option}`services.llmhop.vllm.group`, which group 0 in a container is.";
    };

    subUidStart = mkOption {
      type = types.ints.unsigned;
      example = 300000;
      description = ''
        First UID of the user's subordinate range. UID 1 of every container
        and those that follow are mapped to the UIDs from here on, whatever
        other ranges the user has. The range must begin above the system users
        (1000), leave out the ids that systemd gives to users and services (60001 to
        60705, 61184 to 65535), not contain the UID of any user, people who log in included, and
        not overlap the range of any other. `UserNS`, `UIDMap` or
        `GIDMap` in {option}`services.llmhop.vllm.containerConfig` take the
        place of this mapping.
      '';
    };

    subUidCount = mkOption {
      type = types.ints.positive;
      default = 65536;
      description = ''
        Number of UIDs in the subordinate range, 999 at least: the system users of an image
        have one each.
      '';
    };

    subGidStart = mkOption {
      type = types.ints.unsigned;
      default = cfg.subUidStart;
      defaultText = literalExpression "config.services.llmhop.vllm.subUidStart";
      description = "First GID of the group's subordinate range.";
    };

    subGidCount = mkOption {
      type = types.ints.positive;
      default = cfg.subUidCount;
      defaultText = literalExpression "config.services.llmhop.vllm.subUidCount";
      description = "Number of GIDs in the subordinate range.";
    };

    dataDir = mkOption {
      type = types.path;
      default = "/var/lib/vllm";
      description = ''
        Home of {option}`services.llmhop.vllm.user`. Rootless Podman keeps its
        images and containers below it (`.local/share/containers`), so the
        filesystem has to support overlayfs, and needs room for images of 10 to
        20 GB each. The directory is given to the user: one that somebody else has,
        or that lies in {option}`services.llmhop.vllm.cacheDir`, is refused.
      '';
    };
  };
}
