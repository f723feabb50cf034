"""What is refused of keys of [Service], which the manager of the models' user starts.

That manager has no more rights than its user (systemd.exec(5)).
"""

from llmhop_generator.contract.keys.rule import FALSE, HEALTH, TRUE, Rule

_ROOT = "only root may set it, and the unit is started by the manager of `user`"
_NOT_ROOTS = (
    *("AmbientCapabilities", "AppArmorProfile", "CapabilityBoundingSet", "RootDirectory"),
    *("RootImage", "SecureBits", "SELinuxContext", "SmackProcessLabel"),
)

# Each implies NoNewPrivileges= where root does not start the unit (context_has_no_new_privileges
# in src/core/execute.c of systemd), with which newuidmap gives no ids.
_SECCOMP = """
LockPersonality MemoryDenyWriteExecute NoNewPrivileges PrivateDevices ProtectClock ProtectHostname
ProtectKernelLogs ProtectKernelModules ProtectKernelTunables RestrictAddressFamilies
RestrictNamespaces RestrictRealtime RestrictSUIDSGID SystemCallArchitectures SystemCallFilter
SystemCallLog
"""
# Each takes a namespace, which without root is in one of users, with one id.
_NAMESPACES = """
BindPaths BindReadOnlyPaths ExecPaths InaccessiblePaths IPCNamespacePath MountAPIVFS
NetworkNamespacePath NoExecPaths PrivateIPC PrivateMounts PrivateNetwork PrivatePIDs PrivateTmp
PrivateUsers ProcSubset ProtectControlGroups ProtectHome ProtectProc ProtectSystem ReadOnlyPaths
ReadWritePaths TemporaryFileSystem
"""
_SANDBOX = Rule(
    "rootless Podman starts no container in it, as it needs newuidmap and namespaces of its own; "
    "set keys of containerConfig, which confine the container",
    taken=rf"{FALSE}|all|default",
)

SERVICE = {
    **dict.fromkeys(_NOT_ROOTS, Rule(_ROOT)),
    **dict.fromkeys([*_SECCOMP.split(), *_NAMESPACES.split()], _SANDBOX),
    "CPUSchedulingPolicy": Rule(_ROOT, "fifo|rr"),
    "DynamicUser": Rule("set the option `user`, whose manager starts the unit", TRUE),
    "ExecStart": Rule("Podman writes it; set `settings` or keys of containerConfig"),
    "Group": Rule("set the option `group`; the manager of `user` starts the unit"),
    "IOSchedulingClass": Rule(_ROOT, "1|realtime"),
    "Nice": Rule("only root may set one below 0; give 0 to 19", "-.*"),
    "OOMScoreAdjust": Rule("only root may set one below 0; give 0 to 1000", "-.*"),
    "RemainAfterExit": Rule(
        "a model whose engine has ended would be taken for one that is up", TRUE
    ),
    "SetCredential": Rule("it would be seen in the unit; set a variable in an environmentFile"),
    "SupplementaryGroups": Rule(
        "only root may give groups; add the user to them, and set containerConfig.GroupAdd = "
        '"keep-groups" for its containers',
        values=".+",
    ),
    "Type": Rule(HEALTH),
    "User": Rule("set the option `user`, whose manager starts the unit"),
}
