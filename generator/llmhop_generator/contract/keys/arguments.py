"""Reads the arguments of Podman that PodmanArgs and GlobalArgs hold."""

import shlex
from collections.abc import Iterator

_SWITCHES = """
--detach --disable-content-trust --env-host --help --http-proxy --init --interactive
--no-healthcheck --no-hostname --no-hosts --oom-kill-disable --passwd --privileged
--publish-all --quiet --read-only --read-only-tmpfs --replace --rm --rmi --rootfs
--sig-proxy --tls-verify --tty --unsetenv-all -P -d -i -q -t
"""
_GLOBAL_SWITCHES = "--help --remote --syslog --transient-store --version -r -v"
SWITCHES = {
    "GlobalArgs": frozenset(_GLOBAL_SWITCHES.split()),
    "PodmanArgs": frozenset(_SWITCHES.split()),
}
"""The flags of Podman 5.4, and of its `run`, that take no value; all others do."""
_ENDS = {"GlobalArgs": "command", "PodmanArgs": "image"}
"""What Podman reads after the arguments of a key."""


def stray(key: str, text: str) -> Iterator[str]:
    """Find words that no flag takes, and a flag that takes what is none of its words."""
    flag, lacks = "", False
    for word in _words(text):
        if not lacks and (not word.startswith("-") or word in ("-", "--")):
            after = f" after {flag}" if flag else ""
            yield (
                f"has a word{after} that is no flag and belongs to none, and Podman would take it "
                f"for the {_ENDS[key]}; remove it, or put a value with spaces in quotes"
            )
        elif lacks and not word.startswith("-"):
            lacks = False
        else:
            *_, (flag, value) = _read(word, SWITCHES[key])
            lacks = value is None and flag not in SWITCHES[key]
    if lacks:
        yield f"has {flag} without a value, and would take the {_ENDS[key]} for it; write one"


def flags_of(arguments: str) -> Iterator[tuple[str, str]]:
    """Give the flags among some arguments, each with what is its value if it takes one."""
    words = _words(arguments)
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word.startswith("-"):
            for flag, value in _read(word, _ALL_SWITCHES):
                yield flag, following if value is None else value


def _read(word: str, switches: frozenset[str]) -> Iterator[tuple[str, str | None]]:
    """The flags in one word, several where they are letters, and the value of the last one."""
    if word.startswith("--"):
        flag, given, value = word.partition("=")
        yield flag, value if given else None
        return
    for at, letter in enumerate(word[1:], 2):
        rest = word[at:]
        yield f"-{letter}", rest.removeprefix("=") or None
        if f"-{letter}" not in switches or rest.startswith("="):
            break


_ALL_SWITCHES = frozenset.union(*SWITCHES.values())


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
