"""The exceptions among the lines that an engine has printed.

An engine is several processes, whose lines come mixed, each behind the name of its process and,
where it was logged, behind level, time and place:

    (EngineCore_DP0 pid=92) ERROR 11-27 16:01:25 [core.py:712] ValueError: No available memory …
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_PROCESS = re.compile(r"\(([^()]+?) pid=\d+(?:, ip=[^)]*)?\) ?|\[(rank\d+)\]: ?")
_LOGGED = re.compile(
    r"(?:\[[\w.-]+\] )?"  # VLLM_LOGGING_PREFIX
    r"(DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[?([^\]\[]+:\d+)\] ?"
)
_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
# Of a destructor: it ends nothing.
_IGNORED = "Exception ignored in"
_RAISED = re.compile(r"((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(?:: (.*)|:)?")
_MESSAGE_LINES = 12


@dataclass(frozen=True)
class Line:
    """A line without what a logger has put before it; `level` is empty where none did."""

    text: str
    process: str = ""
    level: str = ""
    place: str = ""

    @classmethod
    def parse(cls, printed: str) -> "Line":
        """Take a line apart."""
        text, process = printed.rstrip(), ""
        while found := _PROCESS.match(text):
            process, text = found[1] or found[2], text[found.end() :]
        found = _LOGGED.match(text)
        if found is None:
            return cls(text, process)
        return cls(text[found.end() :], process, found[1], found[2])


@dataclass(frozen=True)
class Raised:
    """An exception: its class without the module, and the lines of its message."""

    kind: str
    lines: tuple[str, ...]

    @property
    def words(self) -> str:
        """Class and message as one line."""
        return f"{self.kind}: {self.message}" if self.message else self.kind

    @property
    def message(self) -> str:
        """The first sentence of the message; of pydantic's lists of errors the errors."""
        first, *rest = self.lines or ("",)
        if _PYDANTIC.fullmatch(first):
            told = [line for line in rest if "further information" not in line]
            return " ".join(_PYDANTIC_INPUT.sub("", line).strip() for line in told)
        if rest and (not first or first.endswith(":")):
            return f"{first} {rest[0].strip()}".strip()
        return first


_PYDANTIC = re.compile(r"\d+ validation errors? for .*")
_PYDANTIC_INPUT = re.compile(r" \[type=\w+, input_value=.*, input_type=.*\]$")

Chain = tuple[Raised, ...]
"""Exceptions that led to one another, as Python prints them: the first is the root."""


def chains(lines: Sequence[Line]) -> list[Chain]:
    """Find the exceptions that were told, chain by chain, in the order in which they ended."""
    processes: dict[str, list[tuple[int, Line]]] = {}
    for number, line in enumerate(lines):
        processes.setdefault(line.process, []).append((number, line))
    found = [each for numbered in processes.values() for each in _chains(numbered)]
    return [chain for _, chain in sorted(found, key=lambda each: each[0])]


def _chains(numbered: Sequence[tuple[int, Line]]) -> Iterator[tuple[int, Chain]]:
    """The chains of one process, each with the number of its last line."""
    lines = [line for _, line in numbered]
    chain: Chain = ()
    at = 0
    while at < len(lines):
        if not lines[at].text.endswith(_TRACEBACK):
            at += 1
            continue
        ignored = at > 0 and lines[at - 1].text.startswith(_IGNORED)
        raised, at = _raised(lines, at + 1)
        if raised is not None and not ignored:
            chain = (*chain, raised)
        if chain and not (at < len(lines) and lines[at].text in _CHAINED):
            yield numbered[at - 1][0], chain
            chain = ()


def _raised(lines: Sequence[Line], at: int) -> tuple[Raised | None, int]:
    """Read on from the first frame: the exception, and where what follows it begins."""
    while at < len(lines) and lines[at].text.startswith(" "):
        at += 1
    found = _RAISED.fullmatch(lines[at].text) if at < len(lines) else None
    if found is None:
        return None, at
    end, place = at + 1, lines[at].place
    while end < len(lines) and lines[end].place == place and not _begins(lines[end]):
        end += 1
    message = [found[2] or "", *(line.text for line in lines[at + 1 : end])]
    return Raised(found[1].rpartition(".")[2], tuple(message[:_MESSAGE_LINES])), end


def _begins(line: Line) -> bool:
    return line.text.endswith(_TRACEBACK) or line.text in _CHAINED
