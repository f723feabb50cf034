"""Findings about llmhop's own service: its group, its unit and its socket."""

from collections.abc import Iterator

from llmhop_generator.contract.listen import given_key
from llmhop_generator.contract.options import Llmhop
from llmhop_generator.errors import Finding, GeneratorError, option_path
from llmhop_generator.host import files
from llmhop_generator.host.systemd import system_states
from llmhop_generator.layout import ROUTER_SOCKET, ROUTER_UNIT, SYSTEM_UNITS
from llmhop_generator.preflight.boot import PROVISION_HINT
from llmhop_generator.render.router_units import router_socket
from llmhop_generator.render.unit_reader import values
from llmhop_generator.state.router_command import foreign_command
from llmhop_generator.state.router_service import router_group


def service_findings() -> Iterator[Finding]:
    """Find what llmhop lacks to be given a configuration and started."""
    where = option_path(("llmhop", "enable"))
    try:
        router_group()
    except GeneratorError as error:
        yield Finding(where, str(error))
    state = system_states([ROUTER_UNIT])[ROUTER_UNIT]
    if state.load != "loaded":
        yield Finding(where, f"{ROUTER_UNIT} is not on this host, or masked; {PROVISION_HINT}")
    elif foreign := foreign_command(state):
        yield Finding(where, foreign)


def socket_findings(llmhop: Llmhop) -> Iterator[Finding]:
    """Find a socket of ours that is another configuration's, or that is yet to be written.

    systemd opens it, and llmhop would go on where it listens now. What somebody else wrote,
    as NixOS does, is theirs to change.
    """
    socket = files.read(SYSTEM_UNITS / ROUTER_SOCKET)
    service = files.read(SYSTEM_UNITS / ROUTER_UNIT)
    if not files.is_ours((service if socket is None else socket) or ""):
        return
    present, wanted = values(socket or ""), values(router_socket(llmhop) or "")
    for option, key in (
        (given_key(llmhop.settings.model_dump()), "ListenStream"),
        ("socketMode", "SocketMode"),
    ):
        if present.get(key) != wanted.get(key):
            yield Finding.at(
                ("llmhop", "settings", option),
                f"{ROUTER_SOCKET} is not the one of this configuration; "
                "run `llmhop-generator provision CONFIG` first",
            )
            return
