"""A process that is told to end cleans up first, whatever else it is told meanwhile."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest
from llmhop_generator.host.signals import ENDING

# It cleans up by a command, as a run does by systemctl.
PROGRAM = """
import subprocess, sys, time
from llmhop_generator.host.signals import exit_on_signals
exit_on_signals()
try:
    print("ready", flush=True)
    time.sleep(30)
finally:
    print("ending", flush=True)
    subprocess.run(["sh", "-c", "echo cleaning; read line; echo $line"], check=True)
    print("clean", flush=True)
"""


@pytest.fixture(autouse=True)
def not_ignored() -> Iterator[None]:
    """As in the foreground: what a shell starts with `&` has SIGINT and SIGQUIT ignored."""
    before = {each: signal.signal(each, signal.SIG_DFL) for each in (signal.SIGINT, signal.SIGQUIT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def started(*before: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*before, sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def said(child: "subprocess.Popen[str]", lines: Sequence[str]) -> None:
    assert child.stdout is not None
    assert [child.stdout.readline().strip() for _ in lines] == list(lines)


@pytest.mark.parametrize("after", ENDING)
@pytest.mark.parametrize("first", ENDING)
def test_what_comes_after_the_first_signal_cuts_nothing_off(
    first: signal.Signals, after: signal.Signals
) -> None:
    with started() as child:
        said(child, ["ready"])
        child.send_signal(first)
        said(child, ["ending", "cleaning"])
        # To the whole group, as a terminal does.
        subprocess.run(["kill", f"-{after.name[3:]}", "--", f"-{child.pid}"], check=True)
        output, errors = child.communicate("done\n", timeout=30)
    assert output == "done\nclean\n", errors
    assert child.returncode == (-first if first == signal.SIGINT else 128 + first)


def test_a_hangup_that_nohup_has_ignored_stays_ignored() -> None:
    with started("nohup") as child:
        said(child, ["ready"])
        child.send_signal(signal.SIGHUP)
        child.send_signal(signal.SIGTERM)
        output, errors = child.communicate("done\n", timeout=30)
    assert output == "ending\ncleaning\ndone\nclean\n", errors
    assert child.returncode == 128 + signal.SIGTERM
