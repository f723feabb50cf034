"""Which keys of a unit a deployer may set: what llmhop relies on, and what would undo it."""

from collections.abc import Iterator, Mapping, Sequence

from llmhop_generator.contract.keys.arguments import flags_of, stray, unknown
from llmhop_generator.contract.keys.container import CONTAINER
from llmhop_generator.contract.keys.flag_values import FLAG_VALUES
from llmhop_generator.contract.keys.lines import joined, judged
from llmhop_generator.contract.keys.rule import SYSTEMD_RESTARTS, TRUE, Rule
from llmhop_generator.contract.keys.service import SERVICE
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

_ARGUMENTS: dict[str, dict[str, Rule]] = {
    "GlobalArgs": dict.fromkeys(
        (
            *("--root", "--runroot", "--imagestore", "--storage-driver", "--storage-opt"),
            *("--remote", "-r", "--url", "--connection", "-c"),
        ),
        _STORAGE,
    ),
    "PodmanArgs": {
        **FLAG_VALUES,
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
                yield from (
                    Finding.at((*path, key), f"must not be {_quoted(text)}: {rule.why}")
                    for text in judged(rule, items)
                    if rule.refuses(text)
                )
        if option == "containerConfig" and key in _ARGUMENTS:
            own_shm = [text.strip() for text in keys.get("ShmSize", ())][-1:] == [""]
            for flag, value, why in _arguments(key, items):
                if why is not _IPC or not own_shm:
                    shown = "" if why.is_whole else f" {_quoted(value)}"
                    yield Finding.at((*path, key), f"must not have {flag}{shown}: {why.why}")
            text = joined(items)
            for what in (*stray(key, text), *unknown(key, text)):
                yield Finding.at((*path, key), what)


def _arguments(key: str, items: Sequence[str]) -> Iterator[tuple[str, str, Rule]]:
    for flag, value in flags_of(joined(items), key):
        rule = _ARGUMENTS[key].get(flag)
        if rule is not None and rule.refuses(value):
            yield flag, value, rule


def _quoted(value: str) -> str:
    return f'"{value}"' if value else "empty"
