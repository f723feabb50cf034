"""Quadlet sources of ours, read back: what a plan and a table need to know of one."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from llmhop_generator.render.start_note import StartNote, is_order, note_of, without_note
from llmhop_generator.unit_names import model_of, service_of


@dataclass(frozen=True)
class Entry:
    """A model as its source describes it. `port` is the published one, on loopback.

    `note` is what it leaves at its start.
    """

    name: str
    service: str
    image: str
    port: int
    devices: tuple[str, ...]
    note: StartNote | None = None


def environment_files_of(source: str) -> tuple[str, ...]:
    """The environment files of a source, in the order in which they are read."""
    return tuple(map(_unquoted, values(source).get("EnvironmentFile", [])))


def _unquoted(word: str) -> str:
    """Undo what `quadlet` does to a path."""
    plain = word.replace("%%", "%").replace("$$", "$")
    if not plain.startswith('"'):
        return plain
    return _ESCAPE.sub(lambda m: _ESCAPES.get(m[1]) or chr(int(m[1][1:], 16)), plain[1:-1])


_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)")
_ESCAPES = {"\\": "\\", '"': '"', "t": "\t", "r": "\r"}


def with_order(source: str, other: str) -> str:
    """A source at the place in the start order that another one has."""
    order, bare = _order(other), _without_order(source)
    if order == _order(source):
        return source
    if bare == _without_order(other):
        return other
    return bare.replace("[Unit]\n", f"[Unit]\n{order}", 1)


def _order(source: str) -> str:
    return "".join(line for line in source.splitlines(keepends=True) if is_order(line))


def _without_order(source: str) -> str:
    return "".join(line for line in source.splitlines(keepends=True) if not is_order(line))


def image_of(source: str) -> tuple[str, str]:
    """The image of a source, and when it is pulled: `newer` or `missing`."""
    keys = values(source)
    return keys["Image"][0], keys["Pull"][0]


def started_with(source: str) -> tuple[list[str], list[str]]:
    """The image and the command line of a source, as they are written."""
    keys = values(source)
    return keys["Image"], keys["Exec"]


def values(source: str) -> dict[str, list[str]]:
    """The values of each key of a source, as they are written."""
    found = defaultdict(list)
    for line in source.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            found[key].append(value)
    return found


def entries(texts: Mapping[str, str]) -> list[Entry]:
    """Describe the models of some sources, by ascending port: the order in which they start.

    Of an empty source, whose model nobody has described, image and port are empty and 0.
    """
    found = [_entry(name, text) for name, text in texts.items()]
    return sorted(found, key=lambda entry: entry.port)


def _entry(file_name: str, text: str) -> Entry:
    keys = values(text)
    return Entry(
        name=model_of(file_name),
        service=service_of(file_name),
        image=keys["Image"][0] if text else "",
        port=int(keys["PublishPort"][0].split(":")[1]) if text else 0,
        devices=devices_of(text),
        note=note_of(text),
    )


def devices_of(source: str) -> tuple[str, ...]:
    """The devices of a source: CDI names and paths."""
    return tuple(value.strip("\"'") for value in values(source).get("AddDevice", []))


_VARIABLE = "Environment "


@dataclass(frozen=True)
class Change:
    """A key that differs between two sources: the words that went, and those that came."""

    key: str
    old: tuple[str, ...]
    new: tuple[str, ...]


def changes(old: str, new: str) -> list[Change]:
    """Compare two sources key by key, and the values of a key word by word.

    Of variables only the names are told: their values may be somebody's secret. The note
    that a unit leaves changes with all else, and is not told.
    """
    before, after = (
        _named_variables(values(without_note(old))),
        _named_variables(values(without_note(new))),
    )
    found = []
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            was, now = _split(before.get(key, [])), _split(after.get(key, []))
            if key.startswith(_VARIABLE):
                was = now = []
            gone, come = [w for w in was if w not in now], [w for w in now if w not in was]
            found.append(Change(key, tuple(gone), tuple(come)))
    return found


def _named_variables(keys: Mapping[str, list[str]]) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for key, lines in keys.items():
        if key != "Environment":
            told[key] = lines
            continue
        for line in lines:
            told[_VARIABLE + line.lstrip('"').partition("=")[0]] = [line]
    return told


def _split(lines: list[str]) -> list[str]:
    return [word for line in lines for word in line.split(" ")]
