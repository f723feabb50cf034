"""Settings to the command line of `vllm serve`.

`true` becomes `--key`; `null`, `false` and an empty list are left out; every
other value becomes `--key=value`, so that a value may begin with a dash. Objects
are passed as JSON. Of lists, vLLM's argument parser wants the items as words
after the flag; the few flags that differ are named below. A key with a dot sets
one value in the object of a flag, and always has a value of its own.

A flag has several spellings: `a_b` and `a-b`, `x` and `no-x`, `x` and `x.y`. vLLM
takes what comes last, or the dotted ones before all others, so which of two holds
would be an accident; here the model's always wins, and two in one set are refused.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from llmhop_generator.contract.text import unrepresentable
from llmhop_generator.errors import Finding, Path
from llmhop_generator.layout import HOST

# vLLM declares these two ways of its own for lists: one JSON value, and one flag
# an item (vllm/entrypoints/openai/cli_args.py, FrontendArgs._customize_cli_kwargs).
_JSON_LISTS = {"allowed-origins", "allowed-methods", "allowed-headers"}
_REPEATED = {"middleware"}

# vLLM looks for this word alone among its arguments (FlexibleArgumentParser).
_SEPARATE = {"config"}

_TAKEN = {
    "model": "set the option `model`",
    "served-model-name": "clients select a model by its `name`",
    "host": "the container's port is published on 127.0.0.1 only",
    "port": "set the option `port`",
    "uds": "llmhop reaches the container by its port",
    "ssl-keyfile": "llmhop reaches the container over loopback, without TLS",
    "ssl-certfile": "llmhop reaches the container over loopback, without TLS",
}

# With the variable that holds the secret in their place. Without a value, some take a secret
# that is in the image's cache.
_SECRETS: dict[str, str] = HOST["secret_flags"]

Flags = Mapping[str, Any]


def canonical(key: str) -> str:
    """Spell a flag as vLLM does: it takes `_` and `-` for the same up to the first dot."""
    head, dot, rest = key.partition(".")
    return head.replace("_", "-") + dot + rest


@lru_cache(maxsize=4096)
def place(key: str) -> tuple[str, ...]:
    """Say what a key sets, however it is spelled: a flag, and where in its value.

    `no_a_b` and `a-b` both give `("a-b",)`; `a_b.c.d` gives `("a-b", "c", "d")`, as does
    `a-b.c.d+`, by which vLLM adds to a list.
    """
    head, dot, rest = key.partition(".")
    flag = head.replace("_", "-").removeprefix("no-")
    return (flag, *rest.removesuffix("+").split(".")) if dot else (flag,)


def _prefixes(of: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return (of[:length] for length in range(1, len(of) + 1))


def inherited(general: Flags, own: Flags) -> dict[str, Any]:
    """Give the backend-wide flags that a model's own leave as they are."""
    places = {place(key) for key in own}
    around = {prefix for each in places for prefix in _prefixes(each)}
    return {
        key: value
        for key, value in general.items()
        if place(key) not in around and places.isdisjoint(_prefixes(place(key)))
    }


def merge(general: Flags, own: Flags) -> dict[str, Any]:
    """Lay a model's flags over the backend-wide ones, however either spells them."""
    return inherited(general, own) | dict(own)


def arguments(flags: Flags) -> list[str]:
    """Give the command line for flags, in the order of their names."""
    return [word for key in sorted(flags) for word in _flag(key, flags[key])]


def _flag(key: str, value: Any) -> Iterator[str]:
    if value is None or value is False or value == []:
        return
    if "." in key:
        # vLLM would take the next word for a value that is not in this one.
        yield f"--{key}={_word(value)}"
    elif value is True:
        yield f"--{key}"
    elif canonical(key) in _SEPARATE:
        yield from (f"--{key}", _word(value))
    elif not isinstance(value, list) or canonical(key) in _JSON_LISTS:
        yield f"--{key}={_word(value)}"
    elif canonical(key) in _REPEATED or len(value) == 1:
        yield from (f"--{key}={_word(item)}" for item in value)
    else:
        yield from (f"--{key}", *map(_word, value))


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def flag_value(flags: Flags, name: str) -> str | None:
    """Give the value that a flag is passed with, in one word; None where it is not."""
    words = [
        word for key, value in flags.items() if canonical(key) == name for word in _flag(key, value)
    ]
    return words[0].partition("=")[2] if len(words) == 1 and "=" in words[0] else None


def is_taken(key: str) -> bool:
    """Whether no text may be given to a flag in settings."""
    return place(key)[0] in {*_TAKEN, *_SECRETS}


def findings(path: Path, flags: Flags) -> Iterator[Finding]:
    """Find the flags below a path that can't be passed on."""
    yield from _repeated(path, flags)
    for key, value in flags.items():
        name, flag = canonical(key), place(key)[0]
        if flag in _TAKEN:
            if value is not None:
                yield Finding.at((*path, key), f"is not for settings: {_TAKEN[flag]}")
        elif flag in _SECRETS and value is not None and not isinstance(value, bool):
            yield Finding.at(
                (*path, key),
                f"would be seen in unit and process list; set {_SECRETS[flag]} in an "
                "environmentFile",
            )
        elif name in _SEPARATE and not (isinstance(value, str) and value.strip("-;")):
            yield Finding.at((*path, key), "must be the path of a file in the container")
        else:
            yield from (
                Finding.at((*path, key), what)
                for word in _flag(key, value)
                if (what := unrepresentable(word))
            )
            if isinstance(value, list):
                yield from (Finding.at((*path, key), what) for what in _list_problems(name, value))


def _repeated(path: Path, flags: Flags) -> Iterator[Finding]:
    seen: dict[tuple[str, ...], str] = {}
    # What is in the value of a flag sorts after the flag.
    for key in sorted(flags, key=lambda key: (place(key), key)):
        first = next((seen[each] for each in _prefixes(place(key)) if each in seen), None)
        if first is not None:
            yield Finding.at(
                (*path, key),
                f"sets what {json.dumps(first)} beside it sets too; keep one of the two",
            )
        seen.setdefault(place(key), key)


def _list_problems(name: str, items: list[Any]) -> Iterator[str]:
    if "." in name:
        if name.endswith("+"):
            yield "is a list, and vLLM splits this value at commas; leave out the + of the key"
        return
    if len(items) < 2 or name in _JSON_LISTS | _REPEATED:
        return
    for word in map(_word, items):
        if word.startswith("-"):
            yield f"has the item {word!r}, which vLLM would take for a flag; leave it out"
        elif word in ("", ";"):
            yield f"has the item {word!r}, which systemd can't pass on as a word; leave it out"
