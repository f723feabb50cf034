"""Reads the arguments of Podman that PodmanArgs and GlobalArgs hold."""

import shlex
from collections import deque
from collections.abc import Iterator, Set
from difflib import get_close_matches

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
_WITH_VALUE = """
--add-host --annotation --arch --attach --authfile --blkio-weight --blkio-weight-device --cap-add
--cap-drop --cgroup-conf --cgroup-parent --cgroupns --cgroups --chrootdirs --cidfile
--conmon-pidfile --cpu-period --cpu-quota --cpu-rt-period --cpu-rt-runtime --cpu-shares --cpus
--cpuset-cpus --cpuset-mems --decryption-key --detach-keys --device --device-cgroup-rule
--device-read-bps --device-read-iops --device-write-bps --device-write-iops --dns --dns-option
--dns-search --entrypoint --env --env-file --env-merge --expose --gidmap --gpus --group-add
--group-entry --health-cmd --health-interval --health-log-destination --health-max-log-count
--health-max-log-size --health-on-failure --health-retries --health-start-period
--health-startup-cmd --health-startup-interval --health-startup-retries
--health-startup-success --health-startup-timeout --health-timeout --hostname --hosts-file
--hostuser --image-volume --init-path --ip --ip6 --ipc --label --label-file --log-driver --log-opt
--mac-address --memory --memory-reservation --memory-swap --memory-swappiness --mount --name
--network --network-alias --oom-score-adj --os --passwd-entry --personality --pid --pidfile
--pids-limit --platform --pod --pod-id-file --preserve-fd --preserve-fds --publish --pull
--rdt-class --requires --restart --retry --retry-delay --sdnotify --seccomp-policy --secret
--security-opt --shm-size --shm-size-systemd --stop-signal --stop-timeout --subgidname --subuidname
--sysctl --systemd --timeout --tmpfs --tz --uidmap --ulimit --umask --unsetenv --user --userns --uts
--variant --volume --volumes-from --workdir
"""
_GLOBAL_WITH_VALUE = """
--cgroup-manager --config --conmon --connection --events-backend --hooks-dir --identity
--imagestore --log-level --module --network-cmd-path --network-config-dir --out --root --runroot
--runtime --runtime-flag --ssh --storage-driver --storage-opt --tmpdir --url --volumepath
"""
FLAGS = {
    "GlobalArgs": SWITCHES["GlobalArgs"] | {*_GLOBAL_WITH_VALUE.split()},
    "PodmanArgs": SWITCHES["PodmanArgs"] | {*_WITH_VALUE.split()},
}
"""All of them that have more than a letter."""
# What else Podman calls some of them (AliasFlags in cmd/podman/utils/alias.go).
_ALIASES = {
    "--dns-opt": "--dns-option",
    "--healthcheck-command": "--health-cmd",
    "--healthcheck-interval": "--health-interval",
    "--healthcheck-retries": "--health-retries",
    "--healthcheck-start-period": "--health-start-period",
    "--healthcheck-timeout": "--health-timeout",
    "--net": "--network",
    "--override-arch": "--arch",
    "--override-os": "--os",
    "--override-variant": "--variant",
}
_ENDS = {"GlobalArgs": "command", "PodmanArgs": "image"}
"""What Podman reads after the arguments of a key."""


def stray(key: str, text: str) -> Iterator[str]:
    """Find words that no flag takes, and a flag that takes what is none of its words."""
    flag, value = "", None
    for word in _parsed(split_words(text), SWITCHES[key], FLAGS[key]):
        if isinstance(word, str):
            after = f" after {flag}" if flag else ""
            yield (
                f"has a word{after} that is no flag and belongs to none, and Podman would take it "
                f"for the {_ENDS[key]}; remove it, or put a value with spaces in quotes"
            )
        else:
            flag, value = word
    # One that is not known may be a switch of another Podman.
    takes_one = flag in FLAGS[key] or not flag.startswith("--")
    if flag and value is None and takes_one and flag not in SWITCHES[key]:
        yield f"has {flag} without a value, and would take the {_ENDS[key]} for it; write one"


def unknown(key: str, text: str) -> Iterator[str]:
    """Find flags that are misspelt. One that resembles none may be of a later Podman."""
    for flag, _ in flags_of(text, key):
        if flag.startswith("--") and flag not in FLAGS[key]:
            alike = [known for known in FLAGS[key] if abs(len(known) - len(flag)) < 2]
            for meant in get_close_matches(flag, sorted(alike), 1, 0.8):
                yield f"has {flag}, which Podman does not know; write {meant}"


def flags_of(arguments: str, key: str = "PodmanArgs") -> Iterator[tuple[str, str]]:
    """Give the flags among some arguments, each with what is its value if it takes one."""
    for word in _parsed(split_words(arguments), SWITCHES[key], FLAGS[key]):
        if not isinstance(word, str):
            flag, value = word
            yield flag, value or ""


def _parsed(
    words: list[str], switches: Set[str], known: Set[str]
) -> Iterator[str | tuple[str, str | None]]:
    """Read words as pflag does: flags with the values that they have, and words that are neither.

    What follows a flag that takes a value is its value, whatever it looks like. Of a flag that
    is not known, a word that looks like a flag is taken for one.
    """
    left = deque(words)
    while left:
        word = left.popleft()
        if not word.startswith("-") or word in ("-", "--"):
            yield word
            continue
        *before, (flag, value) = _read(word, switches)
        yield from before
        if value is None and flag not in switches and left:
            takes_any = flag in known or not flag.startswith("--")
            if takes_any or not left[0].startswith("-"):
                value = left.popleft()
        yield flag, value


def _read(word: str, switches: Set[str]) -> Iterator[tuple[str, str | None]]:
    """The flags in one word, several where they are letters, and the value of the last one."""
    if word.startswith("--"):
        flag, given, value = word.partition("=")
        yield _ALIASES.get(flag, flag), value if given else None
        return
    for at, letter in enumerate(word[1:], 2):
        flag, rest = f"-{letter}", word[at:]
        if rest.startswith("="):
            yield flag, rest[1:]
            return
        if flag not in switches:
            yield flag, rest or None
            return
        yield flag, None


def split_words(text: str) -> list[str]:
    """Split a line as Podman does; where its quotes don't match, at white space."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
