"""Exit codes of the command, and errors turned into them."""

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, NoReturn

from llmhop_generator.cli.messages import say
from llmhop_generator.errors import GeneratorError

EXIT_ERROR = 1
EXIT_NOT_UP = 3
EXIT_CHANGES = 4


def reports_errors(function: Callable[..., None]) -> Callable[..., None]:
    """Turn our errors into messages and exit codes."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except GeneratorError as error:
            fail(str(error))

    return wrapped


def fail(message: str, code: int = EXIT_ERROR) -> NoReturn:
    """End the command with a message on standard error."""
    with suppress(GeneratorError):
        say(f"error: {message}", err=True)
    sys.exit(code)
