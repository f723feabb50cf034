"""Which keys of a unit a deployer may set: what llmhop relies on, and what would undo it.

`CONTAINER` judges every key that Podman 5.4 knows of [Container] (pkg/systemd/quadlet/quadlet.go,
supportedContainerKeys). A later key is Podman's own to refuse or to take.
"""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address


@dataclass(frozen=True)
class Rule:
    """A restriction on a key, and on the flags of `podman run` that mean the same.

    why: the reason, and what to do instead.
    values: a regex of the values that are refused.
    taken: a regex or a predicate of those that are accepted; empty ones, and those with % or $,
        which systemd expands, always are. Without `values` and `taken` the key itself is refused.
    several: every line is checked, not the last one alone.
    flags: flags that are restricted like the key.
    alone: flags that are refused whatever their value.
    """

    why: str
    values: str | None = None
    taken: str | Callable[[str], bool] | None = None
    several: bool = False
    flags: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether the key is refused whatever its value."""
        return self.values is None and self.taken is None

    def refuses(self, value: str) -> bool:
        """Whether a value is refused."""
        if self.taken is not None:
            if value == "" or {"%", "$"} & {*value}:
                return False
            if isinstance(self.taken, str):
                return re.fullmatch(self.taken, value) is None
            return not self.taken(value)
        return self.values is None or re.fullmatch(self.values, value) is not None


# Podman reads addresses as it makes the container, when the model before has ended
# (net.ParseIP of Go, which Python's reading agrees with).
def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _are_resolvers(text: str) -> bool:
    return text == "none" or all(map(_is_address, text.split(",")))


def _is_host_entry(text: str) -> bool:
    names, _, address = text.partition(":")
    return names != "" and (address == "host-gateway" or _is_address(address.strip()))


_TRUE = r"(?i:1|yes|y|true|t|on)"
_NONE = r"(?i:none)(\s.*)?|"
# As Go reads them (time.ParseDuration).
_LENGTH = r"\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+"
_SOME_TIME = rf"(?=.*[1-9]){_LENGTH}"
_ANY_TIME = rf"{_LENGTH}|\+?0"

_HEALTH = "a model is up when its health check says so"
_GIVE_TIME = "give a length above 0 with its unit, such as 10s"
_ADDRESS = "give an IP address"
_IMAGE = "set the options `image` and `tag`, or `digest`"
_POD = "a pod publishes the ports of its containers, and a model its own"
_STARTUP = "until a model is loaded this check waits, where the other one would kill it"
_SYSTEMD_RESTARTS = "systemd restarts a model that has ended, and serviceConfig says how"

_ALLOWED = """
AddCapability AddDevice Annotation AutoUpdate CgroupsMode ContainersConfModule
DNSOption DNSSearch DropCapability Entrypoint Environment EnvironmentHost
ExposeHostPort GIDMap Group GroupAdd HealthLogDestination HealthMaxLogCount
HealthMaxLogSize HostName Label LogDriver
LogOpt Mask Mount NetworkAlias NoNewPrivileges PidsLimit PodmanArgs GlobalArgs ReadOnly
ReadOnlyTmpfs RemapGid RemapUid RemapUidSize RemapUsers RunInit SeccompProfile Secret
SecurityLabelDisable SecurityLabelFileType SecurityLabelLevel SecurityLabelNested
SecurityLabelType ShmSize StopSignal StopTimeout SubGIDMap SubUIDMap Sysctl Timezone
Tmpfs UIDMap Ulimit Unmask User UserNS Volume WorkingDir
"""

CONTAINER: dict[str, Rule | None] = {
    **dict.fromkeys(_ALLOWED.split()),
    "AddHost": Rule(
        "give NAME:ADDRESS, with an IP address or host-gateway",
        taken=_is_host_entry,
        several=True,
        flags=("--add-host",),
    ),
    "ContainerName": Rule("set the model's `name`", flags=("--name",)),
    "DNS": Rule(
        "give an IP address, such as 9.9.9.9, or none",
        taken=_are_resolvers,
        several=True,
        flags=("--dns",),
    ),
    "EnvironmentFile": Rule("set the option `environmentFile`", flags=("--env-file",)),
    "Exec": Rule("set the option `settings`"),
    # Without a check Podman refuses Notify=healthy; one that never runs is never passed
    # (libpod/healthcheck_linux.go, disableHealthCheckSystemd).
    "HealthCmd": Rule(
        _HEALTH, _NONE, flags=("--health-cmd",), alone=("--no-healthcheck", "--no-health-check")
    ),
    "HealthInterval": Rule(
        f"{_HEALTH}; {_GIVE_TIME}", taken=_SOME_TIME, flags=("--health-interval",)
    ),
    "HealthOnFailure": Rule(
        f"{_SYSTEMD_RESTARTS}; write kill or stop", "restart", flags=("--health-on-failure",)
    ),
    "HealthStartupCmd": Rule(_STARTUP, _NONE, flags=("--health-startup-cmd",)),
    "HealthRetries": Rule(
        f"{_HEALTH}; give a number above 0", taken="0*[1-9][0-9]*", flags=("--health-retries",)
    ),
    "HealthStartPeriod": Rule(
        "give a length of time with its unit, such as 10s, or 0",
        taken=_ANY_TIME,
        flags=("--health-start-period",),
    ),
    "HealthStartupInterval": Rule(
        f"{_STARTUP}; {_GIVE_TIME}", taken=_SOME_TIME, flags=("--health-startup-interval",)
    ),
    "HealthStartupRetries": Rule(
        "give a number", taken="[0-9]+", flags=("--health-startup-retries",)
    ),
    "HealthStartupSuccess": Rule(
        "give a number", taken="[0-9]+", flags=("--health-startup-success",)
    ),
    "HealthStartupTimeout": Rule(_GIVE_TIME, taken=_SOME_TIME, flags=("--health-startup-timeout",)),
    "HealthTimeout": Rule(_GIVE_TIME, taken=_SOME_TIME, flags=("--health-timeout",)),
    "IP": Rule(_ADDRESS, taken=_is_address, flags=("--ip",)),
    "IP6": Rule(_ADDRESS, taken=_is_address, flags=("--ip6",)),
    "Image": Rule(_IMAGE),
    "Network": Rule(
        "a model is reached by the port that Podman publishes on 127.0.0.1, and of such a network "
        "none is published; leave it out, or name another such as pasta",
        r"host|none|(container|ns):.*|.*\.container",
        several=True,
        flags=("--network", "--net"),
    ),
    "Notify": Rule(_HEALTH, flags=("--sdnotify",)),
    "Pod": Rule(_POD, flags=("--pod", "--pod-id-file")),
    "PublishPort": Rule("set the option `port`", flags=("--publish", "-p")),
    "Pull": Rule("a tag is pulled where a newer image is found, a digest once", flags=("--pull",)),
    "Rootfs": Rule(_IMAGE, flags=("--rootfs",)),
    "ServiceName": Rule("set the model's `name`"),
    "StartWithPod": Rule(_POD),
    "VolatileTmp": Rule(
        '/tmp is mounted already; write Tmpfs = [ "" "/tmp:…" ] for another one',  # noqa: S108
        _TRUE,
    ),
}

SERVICE = {
    "DynamicUser": Rule("set the option `user`, whose manager starts the unit", _TRUE),
    "ExecStart": Rule("Podman writes it; set `settings` or keys of containerConfig"),
    "Group": Rule("set the option `group`; the manager of `user` starts the unit"),
    "RemainAfterExit": Rule(
        "a model whose engine has ended would be taken for one that is up", _TRUE
    ),
    "SetCredential": Rule("it would be seen in the unit; set a variable in an environmentFile"),
    "Type": Rule(_HEALTH),
    "User": Rule("set the option `user`, whose manager starts the unit"),
}

UNIT = {
    key: Rule("`apply` starts and stops models by name", _TRUE)
    for key in ("RefuseManualStart", "RefuseManualStop")
}

RULES: Mapping[str, Mapping[str, Rule | None]] = {
    "containerConfig": CONTAINER,
    "serviceConfig": SERVICE,
    "unitConfig": UNIT,
}
"""What is judged of the keys of each option."""

_STORAGE = Rule(
    "Podman of `user` has its images and containers where it keeps them by itself; "
    "set it in that user's containers.conf or storage.conf"
)
_UNIT_OF_PODMAN = Rule("Podman's unit ends and removes the container by it", r"(?i:f|false|0)")
_IPC = Rule(
    "Podman takes no ShmSize beside it; leave it out, as `shmSize` gives what is needed, "
    'or add ShmSize = ""',
    "host|none",
)

_ARGUMENTS: dict[str, dict[str, Rule]] = {
    "GlobalArgs": dict.fromkeys(
        (
            *("--root", "--runroot", "--imagestore", "--storage-driver", "--storage-opt"),
            *("--remote", "-r", "--url", "--connection", "-c"),
        ),
        _STORAGE,
    ),
    "PodmanArgs": {
        **{flag: rule for rule in CONTAINER.values() if rule for flag in rule.flags},
        **{flag: Rule(rule.why) for rule in CONTAINER.values() if rule for flag in rule.alone},
        "--cidfile": Rule(_UNIT_OF_PODMAN.why),
        **dict.fromkeys(("--rm", "--replace", "--detach", "-d"), _UNIT_OF_PODMAN),
        "--ipc": _IPC,
        "--restart": Rule(_SYSTEMD_RESTARTS),
    },
}
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


def problems(option: str, keys: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Find what one of the options can't set of its keys: each, and what to do.

    `keys` gives the lines of each key.
    """
    for key, items in keys.items():
        rule = RULES[option].get(key)
        if rule is not None:
            if rule.is_whole:
                yield key, f"is not for {option}: {rule.why}"
            else:
                refused = [
                    text for text in _values(items, several=rule.several) if rule.refuses(text)
                ]
                yield from ((key, f"must not be {_shown(text)}: {rule.why}") for text in refused)
        if option == "containerConfig" and key in _ARGUMENTS:
            own_shm = [text.strip() for text in keys.get("ShmSize", ())][-1:] == [""]
            for flag, value, why in _arguments(items, _ARGUMENTS[key]):
                if why is not _IPC or not own_shm:
                    shown = "" if why.is_whole else f" {_shown(value)}"
                    yield key, f"must not have {flag}{shown}: {why.why}"
            yield from ((key, what) for what in _stray(key, items))


def _values(items: Sequence[str], *, several: bool) -> list[str]:
    """What counts of the lines of a key: an empty one takes those before it away."""
    texts = [_plain(text) for text in items]
    if not several:
        return texts[-1:]
    return [text for i, text in enumerate(texts) if text and "" not in texts[i:]]


def _plain(text: str) -> str:
    return text.strip().strip('"')


def _arguments(items: Sequence[str], rules: Mapping[str, Rule]) -> Iterator[tuple[str, str, Rule]]:
    for flag, value in flags_of(" ".join(_values(items, several=True))):
        rule = rules.get(flag)
        if rule is not None and rule.refuses(value):
            yield flag, value, rule


def _stray(key: str, items: Sequence[str]) -> Iterator[str]:
    """Find words that no flag takes, and a flag that takes what is none of its words."""
    flag, lacks = "", False
    for word in _words(" ".join(_values(items, several=True))):
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


def _shown(value: str) -> str:
    return f'"{value}"' if value else "empty"
