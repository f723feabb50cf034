"""llmhop's service: given a configuration, or stopped."""

import grp

from llmhop_generator import files
from llmhop_generator.errors import GeneratorError
from llmhop_generator.layout import (
    ROUTER_BEFORE,
    ROUTER_CONFIG,
    ROUTER_SOCKET,
    ROUTER_UNIT,
    ROUTER_USER,
)
from llmhop_generator.routes import restart_keys
from llmhop_generator.systemd import last_messages, system, system_states


def router_group() -> int:
    """The group that may read llmhop's configuration.

    Raises:
        GeneratorError: it does not exist.
    """
    try:
        return grp.getgrnam(ROUTER_USER).gr_gid
    except KeyError:
        raise GeneratorError(
            f"the group {ROUTER_USER} does not exist on this host; "
            "run `llmhop-generator provision CONFIG`, or set services.llmhop.enable = false"
        ) from None


def offer_config(text: str) -> None:
    """Replace llmhop's configuration, which it reads when it can: this does not wait for it.

    Raises:
        GeneratorError: it can't be written.
    """
    _write(text)
    system("--no-block", "try-reload-or-restart", ROUTER_UNIT)
    files.remove(ROUTER_BEFORE)


def _restarted_units() -> list[str]:
    # In one transaction: the service ends before its socket, and starts after it.
    states = system_states([ROUTER_SOCKET])
    has_socket = states[ROUTER_SOCKET].load == "loaded"
    return [ROUTER_SOCKET, ROUTER_UNIT] if has_socket else [ROUTER_UNIT]


def _write(text: str) -> None:
    """Replace llmhop's configuration, and keep the one that it has read until it has read this."""
    present = files.read(ROUTER_CONFIG)
    if text == present:
        return
    if files.read(ROUTER_BEFORE) is None:
        files.write(ROUTER_BEFORE, present or "", mode=0o600)
    files.write(ROUTER_CONFIG, text, mode=0o640, group=router_group())


def give_config(text: str) -> None:
    """Replace llmhop's configuration, and have it reloaded or started.

    It is restarted where a reload would not do.

    Raises:
        GeneratorError: llmhop refuses it, and serves by the old one on.
    """
    # Where a run was killed, llmhop has read either.
    read = (files.read(ROUTER_BEFORE), files.read(ROUTER_CONFIG))
    restarts = any(restart_keys(each, text) for each in read)
    _write(text)
    if restarts:
        done = system("restart", *_restarted_units(), check=False)
    else:
        done = system("reload-or-restart", ROUTER_UNIT, check=False)
    if done.code != 0:
        _restore()
        if restarts:
            system("restart", *_restarted_units(), check=False)
    files.remove(ROUTER_BEFORE)
    if done.code != 0:
        raise GeneratorError(
            "llmhop does not take its new configuration (services.llmhop.settings) and goes on "
            f"with the one it has; it says:\n{last_messages(ROUTER_UNIT, ROUTER_SOCKET)}"
        )


def _restore() -> None:
    before = files.read(ROUTER_BEFORE)
    if before:
        files.write(ROUTER_CONFIG, before, mode=0o640, group=router_group())
    elif before is not None:
        files.remove(ROUTER_CONFIG)


def stop_router() -> None:
    """Stop llmhop, and remove its configuration."""
    system("stop", ROUTER_SOCKET, ROUTER_UNIT, check=False)
    files.remove(ROUTER_CONFIG)
    files.remove(ROUTER_BEFORE)
