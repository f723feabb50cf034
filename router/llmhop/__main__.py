"""The command, also as ``python -m llmhop``."""

import signal


def main() -> None:
    """Run it.

    SIGHUP asks for a reload: one that comes before there is a handler waits for that, and ends
    nothing. So it is held back before anything is imported, which takes longest. SIGINT ends it
    as SIGTERM does, and not by an exception. SIGUSR1 and SIGUSR2, by which other servers open
    their log again, end nothing. No other signal stays blocked, as the parent may have left it:
    signal(7), the mask is inherited.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, (signal.SIGHUP,))
    for unused in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(unused, signal.SIG_IGN)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from llmhop.cli import main as command

    command(prog_name="llmhop")


if __name__ == "__main__":
    main()
