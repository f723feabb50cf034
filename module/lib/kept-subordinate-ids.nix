# Whether NixOS writes users.users.<name>.subUidRanges and subGidRanges to
# /etc/subuid and /etc/subgid. The Perl script does, systemd-sysusers does not,
# and Userborn where its module gives it the ranges (nixpkgs #508608).
{
  config,
  lib,
  options,
}:
let
  sysusers = config.systemd.sysusers.enable or false;
  userborn = config.services.userborn or { enable = false; };

  # Its version does not tell: nixpkgs had 1.0 for weeks before it gave any ranges.
  # Nor may the service: the names in /etc depend on this, and on them, by
  # networking.resolvconf, which services there are.
  modules = options.services.userborn.enable.declarations;
  givesRanges = module: lib.length (builtins.split "subUidRanges" (builtins.readFile module)) > 1;
in
!sysusers && (!userborn.enable || lib.any givesRanges modules)
