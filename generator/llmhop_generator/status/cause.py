"""Why a start of a model failed, found among what was written in it as a person would find it."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from llmhop_generator.render.provenance import Added
from llmhop_generator.status.endings import BY_SYSTEMD, Ending, tells_of_oom, with_last
from llmhop_generator.status.journal import EXITED, NOT_SPAWNED, Record, Start
from llmhop_generator.status.known_causes import Known, known
from llmhop_generator.status.tracebacks import Chain, Line, Raised, chains

SOON_S = 60.0
"""A start that fails within it fails by what it was given, and not by a download that broke off."""

_MOST = 300  # characters of a message that are told


@dataclass(frozen=True)
class Cause:
    """The words that tell why a start failed, and the known cause that they stand for, if any.

    `keys` are those of the unit of which one may be the cause; where it is a command, `program`
    is what it runs. One that is `certain` is the same in every start to come.
    """

    said: str
    known: Known | None = None
    keys: tuple[str, ...] = ()
    program: str = ""
    certain: bool = False

    def __str__(self) -> str:
        if self.known is None:
            return self.said
        return f"{self.known.name}: {self.said} ({self.known.advice})"

    def is_like(self, other: "Cause") -> bool:
        """Whether two starts failed in the same way: sizes, times and ids may differ."""
        return self.known == other.known and _same(self.said) == _same(other.said)


def describe(cause: Cause, added: Sequence[Added]) -> str:
    """A cause as it is told, behind the options that may be it: of those that a deployer set."""
    found = [each.where for each in added if each.key in cause.keys and _runs(each, cause.program)]
    return f"{' or '.join(found)}: {cause}" if found else str(cause)


def _runs(added: Added, program: str) -> bool:
    # What stands before a program is how it is run (systemd.service(5), special prefixes).
    words = [value.split() for value in added.values]
    return not program or program in [w[0].lstrip("@-:+!|").strip("\"'") for w in words if w]


_CHANGING = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{12,}\b|\d+(\.\d+)?")


def _same(said: str) -> str:
    return _CHANGING.sub("0", said)


@dataclass(frozen=True)
class _Evidence:
    """What was written of a start, taken apart: `others` is all but what the engine printed."""

    records: Sequence[Record]
    others: Sequence[Record]
    lines: Sequence[Line]
    chains: Sequence[Chain]
    ending: Ending

    @classmethod
    def of_start(cls, start: Start) -> "_Evidence":
        lines = [Line.parse(printed) for printed in start.engine_lines]
        others = [record for record in start.records if not record.is_engine]
        return cls(start.records, others, lines, chains(lines), Ending.of_start(start))


def cause_of(start: Start) -> Cause | None:
    """Find why a start failed, or what it has come to where nothing says that it did."""
    evidence = _Evidence.of_start(start)
    found = (detect(evidence) for detect in _DETECTORS)
    return next((cause for cause in found if cause is not None), None)


def cause_of_unmet(lines: Sequence[str]) -> Cause:
    """What kept a unit from being started, by the conditions or asserts that were not met."""
    keys = tuple(line.partition("=")[0] for line in lines)
    what = f"{' and '.join(lines) or 'Condition or Assert of it'} not met"
    return replace(_cause(f"{what}, so systemd did not start it"), keys=keys, certain=True)


def cause_of_ending(ending: Ending) -> Cause | None:
    """What became of a start of which nothing is known but how it ended."""
    words = ending.words
    return _cause(words, known(words)) if words else None


def last_cause(found: Sequence[Start]) -> Cause | None:
    """Why a service is not up: by the last start that failed, else by the one under way."""
    since = _series(found)
    ended = [start for start in since if start.failed or start.result not in ("", "success")]
    causes = map(cause_of, reversed(ended or since))
    return next((cause for cause in causes if cause is not None), None)


def repeated_cause(found: Sequence[Start]) -> Cause | None:
    """Why a service fails: where its last two starts failed in one way, and the last one soon.

    One is enough where the next ones can only fail in the same way.
    """
    failed = [start for start in _series(found) if start.failed]
    if failed and (last := cause_of(failed[-1])) and last.certain:
        return last
    if len(failed) < 2 or failed[-1].ended_s - failed[-1].began_s > SOON_S:
        return None
    earlier, cause = map(cause_of, failed[-2:])
    return cause if cause and earlier and cause.is_like(earlier) else None


def _series(found: Sequence[Start]) -> list[Start]:
    """The starts since somebody, and not systemd by itself, asked for one."""
    first = next((n for n in reversed(range(len(found))) if not found[n].again), 0)
    return list(found[first:])


# systemd's own exit codes are told by the step that failed (systemd.exec(5), "Process exit codes").
_STEP = re.compile(r"code=exited, status=2[0-4][0-9]/([A-Z_]+)")
_SPAWNING = re.compile(r"Failed at step ([A-Z_]+) spawning (.+): ")
_COMMANDS = ("ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost")
_KEYS = {
    "CHDIR": ("WorkingDirectory",),
    "EXEC": _COMMANDS,
    "GROUP": ("Group", "SupplementaryGroups", "User", "DynamicUser"),
    "USER": ("User", "DynamicUser"),
}
_ENVIRONMENT = "Failed to load environment files"


def _not_spawned(evidence: _Evidence) -> Cause | None:
    """What systemd could not do before it had a process of the unit run."""
    tried: dict[str, re.Match[str]] = {}
    for record in evidence.others:
        said = record.message.partition(": ")[2]
        if record.about == NOT_SPAWNED and (match := _SPAWNING.match(said)):
            tried[match[1]] = match
        elif record.about == EXITED and (step := _STEP.search(said)) and step[1] in tried:
            found = tried[step[1]]
            program = found[2] if step[1] == "EXEC" else ""
            return replace(
                _cause(found.string), keys=_KEYS.get(step[1], ()), program=program, certain=True
            )
        elif record.writer == "systemd" and said.startswith(_ENVIRONMENT):
            return replace(_cause(said), keys=("EnvironmentFile",), certain=True)
    return None


# What systemd says as it ends a service.
_DONE = re.compile(r"timed out|timeout \(limit|exited, code=")


def _killed(evidence: _Evidence) -> Cause | None:
    """What was done to an engine that did not end by itself: what it said then follows from it."""
    ending, records = evidence.ending, evidence.records
    if ending.result not in BY_SYSTEMD:
        return None
    done = (n for n, record in enumerate(records) if _tells_of_done(record))
    before = Start(records=list(records[: next(done, len(records))]))
    lines = [Line.parse(printed) for printed in before.engine_lines]
    return _cause(with_last(ending.words, _own_lines(lines)), known(ending.words))


def _tells_of_done(record: Record) -> bool:
    return tells_of_oom(record) or (
        record.writer == "systemd" and _DONE.search(record.message) is not None
    )


# What a process of vLLM raises because another one has failed, and what ends Python in order.
_CONSEQUENCE = re.compile(
    r"root cause|see (the )?stack trace|EngineDead|^(SystemExit|KeyboardInterrupt|CancelledError)",
    re.IGNORECASE,
)


def _exception(evidence: _Evidence) -> Cause | None:
    """What the last traceback says that is not the consequence of another one."""
    candidates = [chain for chain in reversed(evidence.chains) if not _is_consequence(chain)]
    for chain in candidates:
        for raised in reversed(chain):
            if by_name := known(raised.words):
                return _cause(raised.words, by_name)
    return _cause(_chain_message(candidates[0])) if candidates else None


def _is_consequence(chain: Chain) -> bool:
    return all(_CONSEQUENCE.search(raised.words) for raised in chain)


def _chain_message(chain: Chain) -> str:
    """The last exception of a chain, which is meant for people, and its root."""
    telling = [raised for raised in chain if not _CONSEQUENCE.search(raised.words)]
    root, last = telling[0], telling[-1]
    return last.words if root == last else f"{_short(last)}, because of {_short(root)}"


def _short(raised: Raised) -> str:
    return raised.words[: _MOST // 2]


_USAGE = re.compile(r"[\w./-]+(?: [\w./-]+)*: error: (.+)")


def _usage(evidence: _Evidence) -> Cause | None:
    """What the engine's argument parser refuses."""
    found = [match[1] for line in evidence.lines if (match := _USAGE.fullmatch(line.text))]
    return _cause(found[-1]) if found else None


def _failed_command(evidence: _Evidence) -> Cause | None:
    """What a command of the unit beside its container ended with."""
    records = evidence.records
    number = next((n for n, record in enumerate(records) if record.about == EXITED), None)
    if number is None or "Control process exited" not in records[number].message:
        return None
    ended = records[number].message.partition("exited, ")[2]
    said = [record.message for record in records[:number] if record.is_command]
    words = f"a command of the unit ended with {ended}" + (f": {said[-1]}" if said else "")
    return replace(_cause(words), keys=("ExecStartPre", "ExecStartPost"))


# uvicorn's and Podman's way to log.
_ERROR = re.compile(r"(?:ERROR|Error): +(.+)")


def _logged_error(evidence: _Evidence) -> Cause | None:
    """The last error that was logged without a traceback."""
    logged = (text for line in evidence.lines for text in _errors(line))
    found = [text for text in logged if not _CONSEQUENCE.search(text)]
    return _cause(found[-1]) if found else None


def _errors(line: Line) -> Iterator[str]:
    if match := _ERROR.fullmatch(line.text):
        yield match[1]
    elif line.level in ("ERROR", "CRITICAL") and line.text:
        yield line.text


# Podman's events have the time since its start behind the date.
_EVENT = re.compile(r" m=\+\d")
_EARLY = re.compile(
    'Failed to obtain podman configuration: .*|could not find any running process[^"]*'
)
# What Podman says of a container that has ended while it waited for its health (its
# libpod/define/errors.go), and the events of one that ran.
_OVER = re.compile(r"container (is stopped|state improper|has already been removed)$")
_RAN = re.compile(r" container (start|died) ")


def _podman_error(evidence: _Evidence) -> Cause | None:
    """What Podman says where it does not come to a container."""
    records = evidence.records
    written = [record.message for record in records if record.writer == "podman"]
    lines = [line for line in written if not _EVENT.search(line)]
    has_run = any(r.is_engine or _RAN.search(r.message) for r in records)
    begins = [
        number
        for number, line in enumerate(lines)
        if line.startswith("Error: ") and not (has_run and _OVER.search(line))
    ]
    if not begins:
        # What it says before it knows what it is asked is no "Error: ", and it ends too soon to be
        # known by its name.
        early = [found[0] for r in records if r.is_printed and (found := _EARLY.search(r.message))]
        return _cause(early[-1]) if early else None
    first, *rest = lines[begins[-1] :]
    # Of what it started itself, what that has said follows.
    said = f"{first} {rest[0]}" if rest and first.endswith(":") else first
    return _cause(said.removeprefix("Error: "))


def _ended_by_systemd(evidence: _Evidence) -> Cause | None:
    """What systemd did to the service, where that has a name."""
    written = [record.message for record in evidence.others if record.writer == "systemd"]
    found = [(message, by_name) for message in written if (by_name := known(message))]
    return _cause(*found[-1]) if found else None


def _consequence(evidence: _Evidence) -> Cause | None:
    """What a process raised because another one failed: that one may have said nothing."""
    return _cause(evidence.chains[-1][-1].words) if evidence.chains else None


def _bare_ending(evidence: _Evidence) -> Cause | None:
    """What is left where nothing says why: how it ended, and the last line of the engine."""
    said, words = _own_lines(evidence.lines), evidence.ending.words
    if said and (not words or known(words) is None):
        return _cause(said[-1])
    return _cause(with_last(words, said), known(words)) if words else None


# The access logs of uvicorn and of http.server, and what vLLM logs of requests and of its load.
_REQUEST = re.compile(
    r'"[A-Z]+ \S+ HTTP/[\d.]+"|^(Received|Added|Aborted|Finished) request|^Engine \d+: Avg '
)


def _own_lines(lines: Sequence[Line]) -> list[str]:
    """What an engine says of itself, and not of requests, which are no reason for anything."""
    return [line.text for line in lines if line.text and not _REQUEST.search(line.text)]


def _cause(said: str, by_name: Known | None = None) -> Cause:
    told = said if len(said) <= _MOST else f"{said[:_MOST]}…"
    return Cause(told.strip(), by_name or known(said))


_DETECTORS: Sequence[Callable[[_Evidence], Cause | None]] = (
    _not_spawned,  # no process ran: all else that was written is of others
    _killed,  # from outside: what the engine said then only follows from it
    _exception,  # the engine's own account, in full
    _usage,  # its parser's, printed before it logs anything
    _failed_command,  # of the unit, beside an engine that says nothing so plain
    _logged_error,  # less sure: errors are also logged that end nothing
    _podman_error,  # speaks up where there was no engine to speak
    _ended_by_systemd,  # what it did to the service, where nobody else says why
    _consequence,  # of another process, which has said nothing
    _bare_ending,
)
"""By how surely what they find is why, and not what follows from it: the first counts."""
