# The generator's services are root's, and run Podman and images as the models' user. What would need a
# mount namespace (ProtectSystem=, PrivateTmp=) is left out: Podman's pause process
# would hold it for every later container. So is what keeps newuidmap from being
# setuid (NoNewPrivileges=) or images from having such files (RestrictSUIDSGID=).
{
  CapabilityBoundingSet = [
    "CAP_CHOWN"
    "CAP_DAC_OVERRIDE"
    "CAP_DAC_READ_SEARCH"
    "CAP_FOWNER"
    # What it runs as the user.
    "CAP_KILL"
    "CAP_SETGID"
    "CAP_SETUID"
    # Who has a port, and the limit of open files of a manager that runs.
    "CAP_SYS_PTRACE"
    "CAP_SYS_RESOURCE"
  ];
  LockPersonality = true;
  RestrictRealtime = true;
  SystemCallArchitectures = "native";
  SystemCallErrorNumber = "EPERM";
  SystemCallFilter = [ "~@clock @cpu-emulation @debug @module @obsolete @raw-io @reboot @swap" ];
}
