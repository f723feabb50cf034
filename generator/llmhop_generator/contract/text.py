"""Which strings can reach a container unchanged.

A value travels through a Quadlet source, Podman's parser, the service that it
writes and systemd's parser. What one of them would alter is refused here; what
needs quoting is quoted by `render.quadlet`.
"""

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

_NONCHARACTERS = "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
_UNREPRESENTABLE = re.compile(f"[\n\0\x80\ud800-\udfff\ufdd0-\ufdef{_NONCHARACTERS}]")


def unrepresentable(text: str) -> str | None:
    """Say why `text` can't stand in a unit file, or give None where it can.

    systemd drops lines with characters that its utf8_is_valid() refuses
    (surrogates and noncharacters, src/basic/utf8.c), and Podman re-encodes
    U+0080 as a lone byte (pkg/systemd/parser/split.go).
    """
    if text.isascii() and "\n" not in text and "\0" not in text:
        return None  # nearly all there is, at the speed of memchr
    found = _UNREPRESENTABLE.search(text)
    if found is None:
        return None
    match ord(found[0]):
        case 0x0A:
            return "has a newline, which starts a new line in a unit file; write it on one line"
        case 0:
            return "has a NUL character, which no argument or variable can hold; remove it"
        case 0x80:
            return "has the control character U+0080, which Podman can't pass on; remove it"
        case code:
            return f"has U+{code:04X}, which is no character; systemd drops such lines; remove it"


def _check_text(text: str) -> str:
    if reason := unrepresentable(text):
        raise ValueError(reason)
    return text


Text = Annotated[str, AfterValidator(_check_text)]
"""A string that arrives in the container just as it is."""


@dataclass(frozen=True)
class Matching:
    """A string that matches a pattern from end to end; `words` say what is expected."""

    pattern: str
    words: str

    def _check(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text):
            raise ValueError(f"{text!r} is not accepted here; give {self.words}")
        return text

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^({self.pattern})$"}


AbsolutePath = Annotated[Text, Matching(r"/.*", "an absolute path, which begins with /")]
"""An absolute path of a file or directory."""

HomePath = Annotated[Text, Matching(r"/[^:]*", "an absolute path without colons")]
"""A directory that can be somebody's home (passwd(5))."""

VolumePath = Annotated[
    Text,
    Matching(r"/[^:]*[^:\s\\]", "an absolute path without colons, and no space or backslash last"),
]
"""A directory that can be the source of a bind mount."""


def normal_path(path: str) -> str:
    """An absolute path without what names nothing in it, such as `/srv/b` for `//srv/./a/../b/`."""
    return posixpath.normpath("/" + path.lstrip("/"))


def is_within(path: str, directory: str) -> bool:
    """Whether a normal path is that of a directory, or of something below it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def effective_lines(texts: Iterable[str]) -> dict[int, str]:
    """Give the lines of a key that count, by index: an empty one takes those before it away."""
    found: dict[int, str] = {}
    for index, text in enumerate(texts):
        if text:
            found[index] = text
        else:
            found.clear()
    return found
