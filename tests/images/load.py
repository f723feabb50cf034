"""Putting image archives into the container storage of a user on a host."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from tests.host.machine import Machine


def as_user(user: str, *command: str) -> str:
    """A shell command that runs `command` as the lingering `user`, as its services would."""
    name = shlex.quote(user)
    home = f"$(getent passwd {name} | cut -d: -f6)"
    environment = f'HOME="{home}" XDG_RUNTIME_DIR="/run/user/$(id -u {name})" PATH="$PATH"'
    return f"cd / && runuser -u {name} -- env -i {environment} {shlex.join(command)}"


def load_image(
    machine: Machine, archive: Path, reference: str, user: str, entrypoint: Sequence[str] = ()
) -> None:
    """Import a root file system as the image `reference` into the storage of `user`.

    The user must exist and linger. Raises RequestedAssertionFailed where Podman refuses.
    """
    change = [f"--change=ENTRYPOINT {json.dumps(list(entrypoint))}"] if entrypoint else []
    command = ["podman", "import", "--quiet", *change]
    machine.succeed(as_user(user, *command, str(machine.share(archive)), reference))


def tag_image(machine: Machine, reference: str, new: str, user: str) -> None:
    """Give an image of `user` another name."""
    machine.succeed(as_user(user, "podman", "tag", reference, new))
