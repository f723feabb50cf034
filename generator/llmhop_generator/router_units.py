"""llmhop's own service and socket, for a systemd host that is not NixOS."""

from llmhop_generator.contract import Llmhop
from llmhop_generator.layout import ROUTER_CONFIG, ROUTER_SOCKET, ROUTER_UNIT, ROUTER_USER
from llmhop_generator.listen import addresses, streams
from llmhop_generator.quadlet import unit_file, unit_line
from llmhop_generator.sources import HEADER

# What llmhop may do: open sockets, read its configuration and what it is handed as
# credentials, and tell systemd how it is.
_HARDENING = (
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


def router_units(llmhop: Llmhop, command: str) -> dict[str, str]:
    """Render the service and, where systemd can open what llmhop listens on, its socket.

    systemd keeps the socket open while llmhop restarts, so that clients wait and none is refused.
    """
    settings = llmhop.settings
    opened = streams(addresses(settings.model_dump()))
    units = {ROUTER_UNIT: _service(command, has_socket=opened is not None)}
    if opened is not None:
        units[ROUTER_SOCKET] = _socket(opened, settings.socket_mode or "0660")
    return units


def _socket(opened: list[str], mode: str) -> str:
    return unit_file(
        HEADER,
        [
            (
                "Unit",
                [
                    ("Description", "llmhop's sockets"),
                    # Without its configuration llmhop could not take the clients.
                    ("ConditionPathExists", str(ROUTER_CONFIG)),
                ],
            ),
            (
                "Socket",
                [
                    *(unit_line("ListenStream", stream) for stream in opened),
                    ("Backlog", "4096"),
                    # At boot an address may come after the socket.
                    ("FreeBind", "true"),
                    ("SocketUser", ROUTER_USER),
                    ("SocketGroup", ROUTER_USER),
                    ("SocketMode", mode),
                    ("RemoveOnStop", "true"),
                ],
            ),
            ("Install", [("WantedBy", "sockets.target")]),
        ],
    )


def _service(llmhop: str, *, has_socket: bool) -> str:
    command = unit_line("ExecStart", f"{_exec_word(llmhop)} --config {ROUTER_CONFIG}")
    check = unit_line("ExecReload", f"{_exec_word(llmhop)} --check --config {ROUTER_CONFIG}")
    after = "network-online.target"
    return unit_file(
        HEADER,
        [
            (
                "Unit",
                [
                    ("Description", "llmhop, one port for every model"),
                    ("Wants", "network-online.target"),
                    *([("Requires", ROUTER_SOCKET)] if has_socket else []),
                    ("After", f"{after} {ROUTER_SOCKET}" if has_socket else after),
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
                    # For unix sockets that llmhop makes itself.
                    ("RuntimeDirectory", "llmhop"),
                    ("RuntimeDirectoryPreserve", "true"),
                    ("Restart", "always"),
                    ("RestartSec", "2"),
                    ("TimeoutStartSec", "15"),
                    # llmhop asks for more where its drainTimeout is longer.
                    ("TimeoutStopSec", "45"),
                    # An event loop that hangs for as long is killed.
                    ("WatchdogSec", "30"),
                    # Two sockets for each request under way.
                    ("LimitNOFILE", "524288"),
                    *_HARDENING,
                ],
            ),
            ("Install", [("WantedBy", "multi-user.target")]),
        ],
    )


def _exec_word(path: str) -> str:
    return path.replace("$", "$$") if path.isascii() and " " not in path else f'"{path}"'
