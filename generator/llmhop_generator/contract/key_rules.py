"""Which keys of a unit a deployer may set: what llmhop relies on, and what would undo it."""

from collections.abc import Iterator, Mapping, Sequence

from llmhop_generator.contract.keys.arguments import flags_of, stray, unknown
from llmhop_generator.contract.keys.container import CONTAINER
from llmhop_generator.contract.keys.rule import SYSTEMD_RESTARTS, TRUE, Rule
from llmhop_generator.contract.keys.service import SERVICE
from llmhop_generator.contract.text import effective_lines
from llmhop_generator.errors import Finding, Path

UNIT = {
    key: Rule("`apply` starts and stops models by name", TRUE)
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

# Each key and the argument that is the same.
_MAPPINGS = {
    "GIDMap": "--gidmap",
    "SubGIDMap": "--subgidname",
    "SubUIDMap": "--subuidname",
    "UIDMap": "--uidmap",
}

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
        "--restart": Rule(SYSTEMD_RESTARTS),
    },
}


def findings(path: Path, option: str, keys: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Find what the option at a path can't set of its keys.

    `keys` gives the lines of each key.
    """
    for key, items in keys.items():
        rule = RULES[option].get(key)
        if rule is not None:
            if rule.is_whole:
                yield Finding.at((*path, key), f"is not for {option}: {rule.why}")
            else:
                refused = [
                    text for text in _values(items, several=rule.several) if rule.refuses(text)
                ]
                yield from (
                    Finding.at((*path, key), f"must not be {_quoted(text)}: {rule.why}")
                    for text in refused
                )
        if option == "containerConfig" and key in _ARGUMENTS:
            own_shm = [text.strip() for text in keys.get("ShmSize", ())][-1:] == [""]
            for flag, value, why in _arguments(items, _ARGUMENTS[key]):
                if why is not _IPC or not own_shm:
                    shown = "" if why.is_whole else f" {_quoted(value)}"
                    yield Finding.at((*path, key), f"must not have {flag}{shown}: {why.why}")
            text = _text(items)
            for what in (*stray(key, text), *unknown(key, text)):
                yield Finding.at((*path, key), what)


def conflicts(keys: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Find keys of [Container] that Podman takes no two of: one of them, and what to do.

    `keys` gives the lines of each key of a model, those of every model among them.
    """
    given = {key for key, items in keys.items() if any(_values(items, several=True))}
    arguments = {flag for flag, _ in flags_of(_text(keys.get("PodmanArgs", ())))}
    modes = [key for key in ("UserNS", "--userns") if key in given | arguments]
    mappings = [name for pair in _MAPPINGS.items() for name in pair if name in given | arguments]
    for mode in modes[:1]:
        where = mode if mode in given else "PodmanArgs"
        what = "Podman takes one of the two; leave one out"
        yield from ((where, f"has {mode} beside {name}, and {what}") for name in mappings)
    groups = _text(keys.get("GroupAdd", ())).split()
    if "keep-groups" in groups and len(groups) > 1:
        yield (
            "GroupAdd",
            "has keep-groups beside others, and Podman takes it alone; leave the others out",
        )


def _values(items: Sequence[str], *, several: bool) -> list[str]:
    """What counts of the lines of a key."""
    texts = [_unquoted(text) for text in items]
    if not several:
        return texts[-1:]
    return [*effective_lines(texts).values()]


def _text(items: Sequence[str]) -> str:
    return " ".join(_values(items, several=True))


def _unquoted(text: str) -> str:
    return text.strip().strip('"')


def _arguments(items: Sequence[str], rules: Mapping[str, Rule]) -> Iterator[tuple[str, str, Rule]]:
    for flag, value in flags_of(_text(items)):
        rule = rules.get(flag)
        if rule is not None and rule.refuses(value):
            yield flag, value, rule


def _quoted(value: str) -> str:
    return f'"{value}"' if value else "empty"
