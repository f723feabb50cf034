"""llmhop's own service and socket, for a systemd host that is not NixOS."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmhop_generator.contract.listen import addresses, streams
from llmhop_generator.contract.options import Llmhop
from llmhop_generator.layout import (
    HEADER,
    HOST,
    ROUTER_CONFIG,
    ROUTER_SOCKET,
    ROUTER_UNIT,
    ROUTER_USER,
    UNFINISHED_ROUTES,
)
from llmhop_generator.render.quadlet import Line, unit_file, unit_line

_ROUTER: Final[dict[str, Any]] = HOST["router"]


def router_units(llmhop: Llmhop, command: str) -> dict[str, str]:
    """Render the service and, where systemd can open what llmhop listens on, its socket.

    systemd keeps the socket open while llmhop restarts, so that clients wait and none is refused.
    """
    socket = router_socket(llmhop)
    units = {ROUTER_UNIT: _service(command, has_socket=socket is not None)}
    if socket is not None:
        units[ROUTER_SOCKET] = socket
    return units


def router_socket(llmhop: Llmhop) -> str | None:
    """Render the socket; None where llmhop opens what it listens on by itself."""
    settings = llmhop.settings
    opened = streams(addresses(settings.model_dump()))
    if opened is None:
        return None
    return _socket(opened, settings.socket_mode or HOST["listen"]["socket_mode"])


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
                    *_lines(_ROUTER["socket"]),
                    ("SocketUser", ROUTER_USER),
                    ("SocketGroup", ROUTER_USER),
                    ("SocketMode", mode),
                ],
            ),
            ("Install", [("WantedBy", "sockets.target")]),
        ],
    )


def _service(llmhop: str, *, has_socket: bool) -> str:
    command = unit_line("ExecStart", f"{_exec_word(llmhop)} --config {ROUTER_CONFIG}")
    # Commands of a reload have no credentials: see module/router-service.nix.
    check = unit_line(
        "ExecReload", f"{_exec_word(llmhop)} --check --without-secrets --config {ROUTER_CONFIG}"
    )
    after = "network-online.target"
    return unit_file(
        HEADER,
        [
            (
                "Unit",
                [
                    ("Description", _ROUTER["description"]),
                    ("Wants", "network-online.target"),
                    *([("Requires", ROUTER_SOCKET)] if has_socket else []),
                    ("After", f"{after} {ROUTER_SOCKET}" if has_socket else after),
                    ("ConditionPathExists", str(ROUTER_CONFIG)),
                    *_lines(_ROUTER["limits"]),
                ],
            ),
            (
                "Service",
                [
                    command,
                    check,
                    ("User", ROUTER_USER),
                    ("Group", ROUTER_USER),
                    *_lines(_ROUTER["service"]),
                    *_lines(_ROUTER["hardening"]),
                ],
            ),
            ("Install", [("WantedBy", "multi-user.target")]),
        ],
    )


def routes_unit(command: str) -> str:
    """Render what gives llmhop at boot the routes that a run was cut off before giving.

    `command` is llmhop-generator, as a path or as a name that systemd looks up.
    """
    return unit_file(
        HEADER,
        [
            (
                "Unit",
                [
                    ("Description", "Routes of llmhop that an apply was cut off before giving"),
                    ("Before", ROUTER_UNIT),
                    ("ConditionPathExists", str(UNFINISHED_ROUTES)),
                ],
            ),
            (
                "Service",
                [
                    ("Type", "oneshot"),
                    unit_line("ExecStart", f"{_exec_word(command)} restore-routes"),
                ],
            ),
            ("Install", [("WantedBy", "multi-user.target")]),
        ],
    )


def _lines(keys: Mapping[str, Any]) -> Iterator[Line]:
    """Keys of host.toml as lines: a list repeats its key."""
    for key, value in keys.items():
        for each in value if isinstance(value, list) else [value]:
            yield key, str(each).lower() if isinstance(each, bool) else str(each)


def _exec_word(path: str) -> str:
    return path.replace("$", "$$") if path.isascii() and " " not in path else f'"{path}"'
