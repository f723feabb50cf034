"""Exit codes of the command, and errors turned into them."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any, NoReturn

from llmhop_generator.cli.messages import ReaderLeftError, say
from llmhop_generator.errors import GeneratorError
from llmhop_generator.host.signals import Ended, signal_name

EXIT_ERROR = 1
EXIT_NOT_UP = 3
EXIT_CHANGES = 4
_UNCHANGED = "nothing was changed"  # as a run of `apply` notes it, too


def reports_errors(function: Callable[..., None]) -> Callable[..., None]:
    """Turn our errors into messages and exit codes."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except ReaderLeftError:
            sys.exit(128 + signal.SIGPIPE)
        except GeneratorError as error:
            fail(str(error))

    return wrapped


@dataclass
class InterruptReport:
    """What to say of the host when a signal ends a command whose error has no notes of its own."""

    left: str = _UNCHANGED


@contextmanager
def reports_signals() -> Iterator[InterruptReport]:
    """Say what a command leaves that a signal or an error ends, and what to do.

    The exit code stays.
    """
    interrupt = InterruptReport()
    try:
        yield interrupt
    except GeneratorError as error:
        left = [note for note in getattr(error, "__notes__", ()) if note != _UNCHANGED]
        if not left:
            raise
        fail(f"{error}\n  The run ended {'; '.join(left)}. Mend that, and apply again to go on")
    except (KeyboardInterrupt, Ended) as end:
        notes = getattr(end, "__notes__", None) or [interrupt.left]
        with suppress(GeneratorError):
            say(
                f"error: ended by {signal_name(end)}: {'; '.join(notes)}. "
                "Apply again to go on, or the earlier configuration to go back",
                err=True,
            )
        if isinstance(end, KeyboardInterrupt):  # of which click would tell once more
            sys.exit(128 + signal.SIGINT)
        raise


@contextmanager
def reports_findings(for_programs: bool) -> Iterator[dict[str, Any]]:
    """Give an object for what is found; for programs it is written at the end, as JSON.

    So is an error, which ends the command then: its message, and each problem with its place.
    """
    found: dict[str, Any] = {"error": None, "problems": []}
    try:
        yield found
    except GeneratorError as error:
        if not for_programs or isinstance(error, ReaderLeftError):
            raise
        problems = [each.fields for each in error.findings]
        say(_as_json(found | {"error": error.title, "problems": problems}))
        sys.exit(EXIT_ERROR)
    if for_programs:
        say(_as_json(found))


def _as_json(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=2, ensure_ascii=False)


def fail(message: str, code: int = EXIT_ERROR) -> NoReturn:
    """End the command with a message on standard error."""
    with suppress(GeneratorError):
        say(f"error: {message}", err=True)
    sys.exit(code)
