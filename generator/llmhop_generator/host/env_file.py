"""Environment files as Podman reads them, which is neither a shell's way nor systemd's.

Source: ParseFile in pkg/env/env.go of Podman. It takes a line as it stands: no quotes, no `export`,
no comment behind a value, nothing joined. What it refuses it writes into the journal whole.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Iterator

_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_.-]*")
_QUOTED = re.compile(rb"(['\"]).*\1", re.DOTALL)
_LINE_BYTES = 1 << 16  # bufio.MaxScanTokenSize of Go, with the newline


def misread(content: bytes) -> Iterator[str]:
    """Find what Podman refuses, or takes otherwise than its author expects.

    Each says what is wrong, where and what to do, and nothing of a name or a value.
    """
    if content.startswith(BOM_UTF8):
        yield (
            "begins with a byte order mark, which would be part of the first name; save it as "
            "UTF-8 without one"
        )
    for number, line in enumerate(content.removeprefix(BOM_UTF8).split(b"\n"), 1):
        if what := _wrong(line):
            problem, advice = what
            yield f"has {problem} in line {number}; {advice}"


def _wrong(whole: bytes) -> tuple[str, str] | None:
    """What is wrong with a line, and what to do."""
    line = whole.removesuffix(b"\r").lstrip(b" \t")
    if len(whole) >= _LINE_BYTES:
        return "more than 64 KiB", "Podman reads no longer line; shorten it"
    if not line or line.startswith(b"#"):
        return None
    name, equals, value = line.partition(b"=")
    if b"\0" in line:
        return "a NUL character", "no variable can hold one; remove it"
    if not _is_utf8(line):
        return "bytes that are not UTF-8", "save it as UTF-8"
    if not equals:
        return "no =", "Podman would look for a variable of its own; write NAME=value"
    if not name:
        return "no name before =", "write NAME=value"
    if not _NAME.fullmatch(name):
        return "no name of a variable before =", "write NAME=value, without export, quotes, spaces"
    if _QUOTED.fullmatch(value.strip()):
        return "a value in quotes", "Podman takes them as a part of it; remove them"
    if value != value.strip():
        return "white space around a value", "Podman takes it as a part of it; remove it"
    if re.search(rb"\s#", value):
        return "a # behind a value", "Podman takes it as a part of it; give comments their lines"
    if value.endswith(b"\\"):
        return "a backslash at the end", "Podman joins no lines; write the value on one"
    return None


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
