"""Why a start of a model failed, found among what was written in it as a person would find it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmhop_generator.journal import Record, Start
from llmhop_generator.known_causes import Known, known
from llmhop_generator.tracebacks import Chain, Line, Raised, chains

SOON_S = 60.0
"""A start that fails within it fails by what it was given, and not by a download that broke off."""

_MOST = 300  # characters of a message that are told
# What a process of vLLM raises because another one has failed, and what ends Python in order.
_CONSEQUENCE = re.compile(
    r"root cause|see (the )?stack trace|EngineDead|^(SystemExit|KeyboardInterrupt|CancelledError)",
    re.IGNORECASE,
)
_USAGE = re.compile(r"[\w./-]+(?: [\w./-]+)*: error: (.+)")
# uvicorn's and Podman's way to log.
_ERROR = re.compile(r"(?:ERROR|Error): +(.+)")
# Podman's events have the time since its start behind the date.
_EVENT = re.compile(r" m=\+\d")
_CHANGING = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{12,}\b|\d+(\.\d+)?")


@dataclass(frozen=True)
class Cause:
    """The words that tell why a start failed, and the known cause that they stand for, if any."""

    said: str
    known: Known | None = None

    def __str__(self) -> str:
        if self.known is None:
            return self.said
        return f"{self.known.name}: {self.said} ({self.known.advice})"

    def is_like(self, other: "Cause") -> bool:
        """Whether two starts failed in the same way: sizes, times and ids may differ."""
        return self.known == other.known and _same(self.said) == _same(other.said)


def _same(said: str) -> str:
    return _CHANGING.sub("0", said)


def cause_of(start: Start) -> Cause | None:
    """Find why a start failed, or what it has come to where nothing says that it did."""
    lines = [Line.parse(printed) for printed in start.engine_lines]
    others = [record for record in start.records if not record.is_engine]
    told = chains(lines)
    found = _exception(told) or _usage(lines) or _logged(lines) or _podman(others)
    return found or _systemd(others) or _consequence(told) or _last(lines)


def last_cause(found: Sequence[Start]) -> Cause | None:
    """Why a service is not up: by the last start that failed, else by the one under way."""
    since = _series(found)
    failed = [start for start in since if start.failed]
    causes = map(cause_of, reversed(failed or since))
    return next((cause for cause in causes if cause is not None), None)


def repeated_cause(found: Sequence[Start]) -> Cause | None:
    """Why a service fails: where its last two starts failed in one way, and the last one soon."""
    failed = [start for start in _series(found) if start.failed]
    if len(failed) < 2 or failed[-1].ended_s - failed[-1].began_s > SOON_S:
        return None
    earlier, cause = map(cause_of, failed[-2:])
    return cause if cause and earlier and cause.is_like(earlier) else None


def _series(found: Sequence[Start]) -> list[Start]:
    """The starts since somebody, and not systemd by itself, asked for one."""
    first = next((n for n in reversed(range(len(found))) if not found[n].again), 0)
    return list(found[first:])


def _exception(told: Sequence[Chain]) -> Cause | None:
    """What the last traceback says that is not the consequence of another one."""
    candidates = [chain for chain in reversed(told) if not _is_consequence(chain)]
    for chain in candidates:
        for raised in reversed(chain):
            if by_name := known(raised.words):
                return _cause(raised.words, by_name)
    return _cause(_words(candidates[0])) if candidates else None


def _consequence(told: Sequence[Chain]) -> Cause | None:
    """What a process raised because another one failed: that one may have said nothing."""
    return _cause(told[-1][-1].words) if told else None


def _is_consequence(chain: Chain) -> bool:
    return all(_CONSEQUENCE.search(raised.words) for raised in chain)


def _words(chain: Chain) -> str:
    """The last exception of a chain, which is meant for people, and its root."""
    telling = [raised for raised in chain if not _CONSEQUENCE.search(raised.words)]
    root, last = telling[0], telling[-1]
    return last.words if root == last else f"{_short(last)}, because of {_short(root)}"


def _short(raised: Raised) -> str:
    return raised.words[: _MOST // 2]


def _usage(lines: Sequence[Line]) -> Cause | None:
    """What the engine's argument parser refuses."""
    found = [match[1] for line in lines if (match := _USAGE.fullmatch(line.text))]
    return _cause(found[-1]) if found else None


def _logged(lines: Sequence[Line]) -> Cause | None:
    """The last error that was logged without a traceback."""
    found = [text for line in lines for text in _errors(line) if not _CONSEQUENCE.search(text)]
    return _cause(found[-1]) if found else None


def _errors(line: Line) -> Iterator[str]:
    if match := _ERROR.fullmatch(line.text):
        yield match[1]
    elif line.level in ("ERROR", "CRITICAL") and line.text:
        yield line.text


def _podman(records: Sequence[Record]) -> Cause | None:
    """What Podman says where it does not come to a container."""
    written = [record.message for record in records if record.writer == "podman"]
    lines = [line for line in written if not _EVENT.search(line)]
    begins = [number for number, line in enumerate(lines) if line.startswith("Error: ")]
    if not begins:
        return None
    first, *rest = lines[begins[-1] :]
    # Of what it started itself, what that has said follows.
    said = f"{first} {rest[0]}" if rest and first.endswith(":") else first
    return _cause(said.removeprefix("Error: "))


def _systemd(records: Sequence[Record]) -> Cause | None:
    """What systemd did to the service, where that has a name."""
    written = [record.message for record in records if record.writer == "systemd"]
    found = [(message, by_name) for message in written if (by_name := known(message))]
    return _cause(*found[-1]) if found else None


def _last(lines: Sequence[Line]) -> Cause | None:
    said = [line.text for line in lines if line.text]
    return _cause(said[-1]) if said else None


def _cause(said: str, by_name: Known | None = None) -> Cause:
    told = said if len(said) <= _MOST else f"{said[:_MOST]}…"
    return Cause(told.strip(), by_name or known(said))
