"""What the NixOS module declares and a plain systemd host needs as files."""

from llmhop_generator.contract import Config, Vllm
from llmhop_generator.layout import ROUTER_CONFIG, ROUTER_USER, STATE_DIR, quadlet_dir, user_manager
from llmhop_generator.quadlet import unit_file, unit_line
from llmhop_generator.units import HEADER

OWN_USER = "vllm"
"""The one user that is declared here; any other name is the deployer's to declare."""

# What llmhop may do: open sockets, read its configuration and what it is handed as
# credentials, and tell systemd how it is.
_ROUTER_HARDENING = (
    ("CapabilityBoundingSet", ""),
    ("DevicePolicy", "closed"),
    ("LockPersonality", "true"),
    ("MemoryDenyWriteExecute", "true"),
    ("NoNewPrivileges", "true"),
    ("PrivateDevices", "true"),
    ("PrivateTmp", "true"),
    ("PrivateUsers", "true"),
    ("ProcSubset", "pid"),
    ("ProtectClock", "true"),
    ("ProtectControlGroups", "true"),
    ("ProtectHome", "true"),
    ("ProtectHostname", "true"),
    ("ProtectKernelLogs", "true"),
    ("ProtectKernelModules", "true"),
    ("ProtectKernelTunables", "true"),
    ("ProtectProc", "invisible"),
    ("ProtectSystem", "strict"),
    ("RemoveIPC", "true"),
    ("RestrictAddressFamilies", "AF_INET"),
    ("RestrictAddressFamilies", "AF_INET6"),
    ("RestrictAddressFamilies", "AF_UNIX"),
    ("RestrictNamespaces", "true"),
    ("RestrictRealtime", "true"),
    ("RestrictSUIDSGID", "true"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallErrorNumber", "EPERM"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallFilter", "~@privileged"),
    ("SystemCallFilter", "~@resources"),
    ("UMask", "0077"),
)


def host_files(config: Config, llmhop: str) -> dict[str, str]:
    """Render the files of a host that is not NixOS: paths below /etc and their text.

    `llmhop` is the router's command, as a path or as a name that systemd looks up
    in its own search path.
    """
    files = {
        "sysusers.d/llmhop.conf": _conf(_sysusers(config)),
        "tmpfiles.d/llmhop.conf": _conf(_tmpfiles(config)),
    }
    if config.llmhop.enable:
        files["systemd/system/llmhop.service"] = _router_service(llmhop)
    if isinstance(config.vllm, Vllm):
        drop_in = f"systemd/system/{user_manager(config.vllm.uid)}.d/llmhop.conf"
        files[drop_in] = _user_manager(config.vllm)
    return files


def subordinate_ids(config: Config) -> dict[str, str]:
    """The lines that /etc/subuid and /etc/subgid need, by the name of the file."""
    vllm = config.vllm
    if not isinstance(vllm, Vllm) or vllm.user != OWN_USER:
        return {}
    return {
        "subuid": f"{vllm.user}:{vllm.sub_uid_start}:{vllm.sub_uid_count}",
        "subgid": f"{vllm.user}:{vllm.sub_gid_start}:{vllm.sub_gid_count}",
    }


def _conf(lines: list[str]) -> str:
    return "\n".join([f"# {HEADER}", *lines]) + "\n"


def _quoted(value: str) -> str:
    """A word of sysusers.d or tmpfiles.d: C escapes, and `%` begins a specifier."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _sysusers(config: Config) -> list[str]:
    lines = []
    vllm = config.vllm
    if isinstance(vllm, Vllm) and vllm.user == OWN_USER:
        lines = [
            f"g {vllm.group} {vllm.gid}",
            f'u {vllm.user} {vllm.uid}:{vllm.gid} "vLLM model servers" {_quoted(vllm.data_dir)}',
        ]
    if config.llmhop.enable:
        lines.append(f'u {ROUTER_USER} - "llmhop router" /')
    return lines


def _tmpfiles(config: Config) -> list[str]:
    lines = [f"d {STATE_DIR} 0755 root root -"]
    vllm = config.vllm
    if isinstance(vllm, Vllm):
        owner = f"{vllm.user} {vllm.group}"
        lines += [
            f"d {quadlet_dir(vllm.uid)} 0755 root root -",
            f"d {_quoted(vllm.data_dir)} 0700 {owner} -",
            f"d {_quoted(vllm.cache_dir)} 0750 {owner} -",
        ]
    return lines


def _user_manager(vllm: Vllm) -> str:
    return unit_file(
        HEADER,
        [
            # Podman's units wait for this target, and nothing else need start it.
            ("Unit", [("Wants", "network-online.target")]),
            # A user manager clamps its units to its own hard limit, without a word.
            ("Service", [unit_line("LimitNOFILE", str(vllm.open_files_limit))]),
        ],
    )


def _router_service(llmhop: str) -> str:
    command = unit_line("ExecStart", f"{_exec_word(llmhop)} --config {ROUTER_CONFIG}")
    check = unit_line("ExecReload", f"{_exec_word(llmhop)} --check --config {ROUTER_CONFIG}")
    return unit_file(
        HEADER,
        [
            (
                "Unit",
                [
                    ("Description", "llmhop, one port for every model"),
                    ("Wants", "network-online.target"),
                    ("After", "network-online.target"),
                    ("ConditionPathExists", str(ROUTER_CONFIG)),
                    # Five starts that time out take 5 * (15 + 2) s, so the limit trips.
                    ("StartLimitIntervalSec", "120"),
                    ("StartLimitBurst", "5"),
                ],
            ),
            (
                "Service",
                [
                    ("Type", "notify-reload"),
                    command,
                    check,
                    ("User", ROUTER_USER),
                    ("Group", ROUTER_USER),
                    ("Restart", "always"),
                    ("RestartSec", "2"),
                    ("TimeoutStartSec", "15"),
                    # Requests under way have 30 s to end.
                    ("TimeoutStopSec", "45"),
                    # Two sockets for each request under way.
                    ("LimitNOFILE", "524288"),
                    *_ROUTER_HARDENING,
                ],
            ),
            ("Install", [("WantedBy", "multi-user.target")]),
        ],
    )


def _exec_word(path: str) -> str:
    return path.replace("$", "$$") if path.isascii() and " " not in path else f'"{path}"'
