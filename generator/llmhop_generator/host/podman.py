"""Queries to Podman: its version, images and containers."""

import json
import pwd
import re
from typing import Any

from llmhop_generator.errors import GeneratorError
from llmhop_generator.host.process import Account, Finished, follow, run
from llmhop_generator.layout import runtime_dir, runtime_unit, user_manager

MINIMUM = (5, 0)
"""The first version with Notify=healthy and StopTimeout= (Podman 5.0 release notes)."""

# What Podman 5.4 says where it can join none of the containers that it has as running.
_LOST = "could not find any running process"


class LostContainersError(GeneratorError):
    """Podman has only containers as running whose processes are gone, and answers nothing.

    So it is after the user's manager was killed: what Podman knows in the runtime directory
    outlives its containers.
    """


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
    """Whether an image is in a user's storage.

    Raises:
        GeneratorError: Podman can't be asked as this user.
    """
    done = _run_podman(account, "image", "exists", image)
    # podman-image-exists(1): every other code is an issue with the storage.
    if done.code not in (0, 1):
        raise _unanswered(account, done)
    if done.code == 1 and done.stderr.strip():
        # Of a configuration that it can't read Podman makes a 1, too, whatever it is asked. Beside
        # a warning it may be an answer all the same.
        _answer(account, "images", "--quiet")
    return done.code == 0


def images(account: Account) -> list[dict[str, Any]]:
    """The images in a user's storage, as Podman describes them.

    Raises:
        GeneratorError: Podman can't be asked as this user.
    """
    return _listed(account, "images")


def containers(account: Account) -> list[dict[str, Any]]:
    """The containers of a user, whatever their state, as Podman describes them.

    Raises:
        GeneratorError: Podman can't be asked as this user.
    """
    return _listed(account, "ps", "--all")


def _listed(account: Account, *words: str) -> list[dict[str, Any]]:
    answer = _answer(account, *words, "--format", "json")
    try:
        return list(json.loads(answer.stdout or "[]"))
    except ValueError:
        raise _unanswered(account, answer) from None


def _answer(account: Account, *words: str) -> Finished:
    done = _run_podman(account, *words)
    if done.code != 0:
        raise _unanswered(account, done)
    return done


def _run_podman(account: Account, *words: str) -> Finished:
    return run(["podman", *words], env=environment_of(account), account=account, check=False)


def _unanswered(account: Account, done: Finished) -> GeneratorError:
    if _LOST in done.stderr:
        manager, directory = user_manager(account.uid), runtime_unit(account.uid)
        return LostContainersError(
            f"Podman of user {account.uid} takes containers for running that are gone, as after "
            f"{manager} was killed; `apply` mends it, or `systemctl stop {manager} {directory}` "
            f"and then `systemctl start {manager}`"
        )
    said = (done.stderr or done.stdout).strip().rpartition("\n")[2] or "it printed nothing"
    return GeneratorError(
        f"Podman can't be asked as user {account.uid} (exit code {done.code}): {said}; "
        "`podman info` as that user has to work"
    )


def pull(account: Account, image: str) -> bool:
    """Pull an image as a user, Podman's progress shown as it comes; whether it worked."""
    return follow(["podman", "pull", image], env=environment_of(account), account=account) == 0


def run_python(account: Account, image: str, source: str, limit_s: int) -> Finished:
    """Run a program in an image, by the Python of its vLLM, without network and devices.

    The program is its standard input, so that no process list has it. It is killed after
    `limit_s` seconds.
    """
    options = [
        "--rm",
        "--interactive",
        "--pull=never",
        "--network=none",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        # Where it runs there may be no cgroup of the user's.
        "--cgroups=disabled",
        "--log-driver=none",
        f"--timeout={limit_s}",
        "--workdir=/",
        "--entrypoint=sh",
    ]
    return run(
        ["podman", "run", *options, image, "-c", _OWN_PYTHON],
        env=environment_of(account),
        account=account,
        check=False,
        stdin=source,
    )


# The interpreter that the image's `vllm` names, which may be in a virtual environment.
_OWN_PYTHON = (
    """p=$(sed -n '1s/^#! *//p' "$(command -v vllm)"); """
    """case $p in *python*) ;; *) p=python3 ;; esac; exec $p -"""
)


def environment_of(account: Account) -> dict[str, str]:
    """What Podman needs to know of the user that it runs as."""
    runtime, user = runtime_dir(account.uid), pwd.getpwuid(account.uid)
    return {
        "HOME": user.pw_dir,
        # By this name, not by the uid, it looks up subordinate ids; ours may be root's.
        "USER": user.pw_name,
        "XDG_RUNTIME_DIR": str(runtime),
        # Its pause process goes into a scope of the user's manager, or it would end with ours.
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus",
    }
