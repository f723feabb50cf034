"""The signals that tell a run to end."""

import signal
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Ended(SystemExit):
    """A signal has told this process to end; the exit code is that of shells, 128 and its number.

    SIGINT is a KeyboardInterrupt. `signal_name` gives the name of either.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number).name


def signal_name(error: BaseException) -> str:
    """The name of the signal behind what unwinds this process."""
    return error.signal if isinstance(error, Ended) else signal.SIGINT.name


def exit_on_signals() -> None:
    """Have the first of the signals that tell to end unwind this process.

    Those that come after it are ignored, so that neither this process nor the commands that
    it then runs are cut off while they clean up: timeout(1) and terminals send to the whole
    group, and often twice. What is ignored already, as SIGHUP is below nohup(1), stays so.
    """
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit)


def _exit(number: int, _: FrameType | None) -> None:
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)  # kept by commands, unlike a handler
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Ended(number)
