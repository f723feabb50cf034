"""llmhop's service: given a configuration, or stopped."""

import grp

from llmhop_generator import files
from llmhop_generator.errors import GeneratorError
from llmhop_generator.layout import ROUTER_CONFIG, ROUTER_SOCKET, ROUTER_UNIT, ROUTER_USER
from llmhop_generator.systemd import last_messages, system


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


def write_config(text: str) -> None:
    """Replace llmhop's configuration, for its next start.

    Raises:
        GeneratorError: it can't be written.
    """
    if text != files.read(ROUTER_CONFIG):
        files.write(ROUTER_CONFIG, text, mode=0o640, group=router_group())


def give_config(text: str) -> None:
    """Replace llmhop's configuration, and have it reloaded or started.

    Raises:
        GeneratorError: llmhop refuses it, and serves by the old one on.
    """
    present = files.read(ROUTER_CONFIG)
    write_config(text)
    done = system("reload-or-restart", ROUTER_UNIT, check=False)
    if done.code == 0:
        return
    if present is None:
        files.remove(ROUTER_CONFIG)
    else:
        write_config(present)
    raise GeneratorError(
        "llmhop does not take its new configuration (services.llmhop.settings) "
        f"and goes on with the one it has; it says:\n{last_messages(ROUTER_UNIT, ROUTER_SOCKET)}"
    )


def stop_router() -> None:
    """Stop llmhop, and remove its configuration."""
    system("stop", ROUTER_SOCKET, ROUTER_UNIT, check=False)
    files.remove(ROUTER_CONFIG)
