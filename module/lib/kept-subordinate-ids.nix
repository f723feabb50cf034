# Whether NixOS writes users.users.<name>.subUidRanges and subGidRanges to
# /etc/subuid and /etc/subgid. The Perl script does, and Userborn from 1.0 on
# (nixpkgs #508608); Userborn before and systemd-sysusers do not.
{ config, lib }:
let
  sysusers = config.systemd.sysusers.enable or false;
  userborn = config.services.userborn or { enable = false; };
in
!sysusers && (!userborn.enable || lib.versionAtLeast (lib.getVersion userborn.package) "1.0")
