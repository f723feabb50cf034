"""What is asked of Podman itself: its version and its images."""

import pwd
import re

from llmhop_generator.errors import GeneratorError
from llmhop_generator.process import Account, follow, run

MINIMUM = (5, 0)
"""The first version with Notify=healthy and StopTimeout= (Podman 5.0 release notes)."""


def require_podman() -> None:
    """See that Podman is there and new enough.

    Raises:
        GeneratorError: it is not.
    """
    said = run(["podman", "--version"]).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < MINIMUM:
        raise GeneratorError(f"5.0 or newer is needed, and this host has {said.strip()}; update it")


def has_image(account: Account, image: str) -> bool:
    """Whether an image is in a user's storage."""
    done = run(
        ["podman", "image", "exists", image],
        env=environment_of(account),
        account=account,
        check=False,
    )
    return done.code == 0


def pull(account: Account, image: str) -> bool:
    """Pull an image as a user, Podman's progress shown as it comes; whether it worked."""
    return follow(["podman", "pull", image], env=environment_of(account), account=account) == 0


def environment_of(account: Account) -> dict[str, str]:
    """What Podman needs to know of the user that it runs as."""
    runtime = f"/run/user/{account.uid}"
    return {
        "HOME": pwd.getpwuid(account.uid).pw_dir,
        "XDG_RUNTIME_DIR": runtime,
        # Its pause process goes into a scope of the user's manager, or it would end with ours.
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus",
    }
