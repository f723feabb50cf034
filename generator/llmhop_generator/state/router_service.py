"""Gives llmhop's service a configuration, or stops it."""

import grp
import time
from collections.abc import Mapping

from llmhop_generator.errors import GeneratorError
from llmhop_generator.host import files
from llmhop_generator.host.systemd import (
    UnitState,
    last_messages,
    system,
    system_is_stopping,
    system_states,
)
from llmhop_generator.layout import (
    ROUTER_BEFORE,
    ROUTER_CONFIG,
    ROUTER_SOCKET,
    ROUTER_UNIT,
    ROUTER_UNITS,
    ROUTER_USER,
)
from llmhop_generator.router.credentials import lacks_credentials
from llmhop_generator.router.routes import ADDRESS_KEYS, restart_keys
from llmhop_generator.state.router_command import foreign_command, foreign_file_read

_REFUSED = "reload refused"
"""What the status of llmhop's service begins with where it has refused its last reload."""

_PAUSES_S = (0.0, 0.2, 1.0)
"""How long a restart waits before it is tried again where systemd could not open the socket."""

# Its group is llmhop's, which has to read it.
_MODE = 0o640


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


def router_runs(states: Mapping[str, UnitState]) -> bool:
    """Whether llmhop has read its configuration and listens where it should, by `states`.

    They are those of ROUTER_UNITS. The socket may be down beside it where there was no
    configuration when it was to start.
    """
    service = states[ROUTER_UNIT]
    is_up = service.active in ("active", "reloading") and not _refused_reload(service)
    if not is_up or _lacks_socket(states) or files.read(ROUTER_BEFORE) is not None:
        return False
    return foreign_file_read(service) is None and foreign_command(service) is None


def router_drifted() -> bool:
    """Whether llmhop's configuration has another owner or mode than it was given."""
    if files.read(ROUTER_CONFIG) is None:
        return False
    return files.has_drifted(ROUTER_CONFIG, mode=_MODE, group=router_group())


def _lacks_socket(states: Mapping[str, UnitState]) -> bool:
    socket = states[ROUTER_SOCKET]
    return socket.load == "loaded" and socket.active != "active"


def _write(text: str) -> None:
    """Replace llmhop's configuration, and keep the one that it has read until it has read this."""
    present = files.read(ROUTER_CONFIG)
    if text == present and not router_drifted():
        return
    if files.read(ROUTER_BEFORE) is None:
        files.write(ROUTER_BEFORE, present or "", mode=0o600)
    files.write(ROUTER_CONFIG, text, mode=_MODE, group=router_group())


def give_config(text: str) -> None:
    """Replace llmhop's configuration, and have it reloaded or started.

    It is restarted where a reload would not do.

    Raises:
        GeneratorError: llmhop refuses it, and serves by the old one on.
    """
    # Where a run was killed, llmhop has read either.
    read = (files.read(ROUTER_BEFORE), files.read(ROUTER_CONFIG))
    states = system_states(ROUTER_UNITS)
    keys = {key for each in read for key in restart_keys(each, text)}
    has_socket = states[ROUTER_SOCKET].load == "loaded"
    if has_socket and (_lacks_socket(states) or keys & ADDRESS_KEYS):
        # In one transaction: the service ends before its socket, and starts after it.
        call = ["restart", *ROUTER_UNITS]
    elif keys or foreign_file_read(states[ROUTER_UNIT]) is not None or lacks_credentials(text):
        call = ["restart", ROUTER_UNIT]
    else:
        call = ["reload-or-restart", ROUTER_UNIT]
    _write(text)
    # Past a start limit that it hit before, or would hit by being told so often.
    system("reset-failed", *(ROUTER_UNITS if has_socket else [ROUTER_UNIT]), check=False)
    done = system(*call, check=False)
    for pause_s in _PAUSES_S:
        if done.code == 0 or ROUTER_SOCKET not in call or not _listened_too_soon():
            break
        time.sleep(pause_s)
        done = system(*call, check=False)
    if done.code != 0 and system_is_stopping():
        # It was not refused: nothing starts any more. llmhop reads it at the next boot.
        files.remove(ROUTER_BEFORE)
        return
    if done.code == 0 and not _refused_reload(system_states([ROUTER_UNIT])[ROUTER_UNIT]):
        files.remove(ROUTER_BEFORE)
        return
    messages = last_messages(ROUTER_UNIT, ROUTER_SOCKET)
    _restore()
    # After a reload too: llmhop is told before what ExecReload= runs, and may have taken what that
    # refused (systemd.service(5), Type=notify-reload).
    system(*call, check=False)
    files.remove(ROUTER_BEFORE)
    raise GeneratorError(
        "llmhop does not take its new configuration (services.llmhop.settings) and goes on "
        f"with the one it has; it says:\n{messages}"
    )


def _listened_too_soon() -> bool:
    """Whether systemd's socket could not be opened.

    The one before it is closed in the background, and on a busy host that may not be over when
    a restart opens the next one at the same address (systemd/systemd#26512).
    """
    return system_states([ROUTER_SOCKET])[ROUTER_SOCKET].result == "resources"


def _refused_reload(service: UnitState) -> bool:
    """Whether llmhop says that it goes on by its configuration from before its last reload.

    No reload fails by what the service itself says (sd_notify(3)), and ExecReload= has none of its
    credentials to check.
    """
    return service.status_text.startswith(_REFUSED)


def _restore() -> None:
    before = files.read(ROUTER_BEFORE)
    if before:
        files.write(ROUTER_CONFIG, before, mode=_MODE, group=router_group())
    elif before is not None:
        files.remove(ROUTER_CONFIG)


def stop_router() -> None:
    """Stop llmhop, and remove its configuration."""
    system("stop", ROUTER_SOCKET, ROUTER_UNIT, check=False)
    files.remove(ROUTER_BEFORE)
    files.remove(ROUTER_CONFIG)  # last: while it is there, a run has llmhop to stop
