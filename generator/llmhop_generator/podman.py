"""What is asked of Podman itself: its version, and what its generator makes of our files."""

import os
import pwd
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from llmhop_generator.errors import GeneratorError, Problem
from llmhop_generator.process import Account, follow, run
from llmhop_generator.sources import service_of

MINIMUM = (5, 0)
"""The first version with Notify=healthy and StopTimeout= (Podman 5.0 release notes)."""

_QUADLET = ("/usr/libexec/podman/quadlet", "/usr/lib/podman/quadlet")


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


def quadlet_command() -> str:
    """Find Podman's Quadlet program: `$LLMHOP_QUADLET`, else where distributions put it.

    Raises:
        GeneratorError: it is not found.
    """
    named = os.environ.get("LLMHOP_QUADLET")
    for path in (named,) if named else _QUADLET:
        if Path(path).is_file():
            return path
    looked = named or " or ".join(_QUADLET)
    raise GeneratorError(f"Podman's Quadlet program is not at {looked}; set LLMHOP_QUADLET to it")


def verify_quadlets(
    files: Mapping[str, str], option_of: Callable[[str, str], str | None] = lambda file, key: None
) -> None:
    """Pass Quadlet sources through Podman's own generator, without touching the host.

    Podman only logs a unit that it can't read, and leaves it out. `option_of` gives the
    option by which a deployer set a key of a file.

    Raises:
        GeneratorError: a source does not become a service; with what Podman says.
    """
    if not files:
        return
    with tempfile.TemporaryDirectory(prefix="llmhop-quadlet-") as directory:
        for name, text in files.items():
            (Path(directory) / name).write_text(text, encoding="utf-8")
        made = run(
            [quadlet_command(), "-dryrun", "-user"],
            env={"QUADLET_UNIT_DIRS": directory},
            check=False,
        )
    services = set(re.findall(r"^---(.+)---$", made.stdout, re.MULTILINE))
    missing = [name for name in files if service_of(name) not in services]
    if missing:
        raise GeneratorError(
            f"Podman's generator makes no service of {', '.join(missing)}: {_said(made.stderr)}",
            sorted(_blamed(made.stderr, missing, option_of)),
        )


def _said(text: str) -> str:
    """What Podman's generator says, without the names of files that it could read."""
    return "\n".join(line for line in text.strip().splitlines() if "Loading source" not in line)


def _blamed(
    text: str, missing: list[str], option_of: Callable[[str, str], str | None]
) -> set[Problem]:
    """The deployers' keys that Podman complains of: a line of it names the file and the key."""
    return {
        Problem(option, "is refused by Podman; see podman-systemd.unit(5) for its keys and values")
        for line in text.splitlines()
        for name in missing
        if f'"{name}"' in line
        for key in re.findall(r"[A-Za-z0-9-]+", line)
        if (option := option_of(name, key))
    }
