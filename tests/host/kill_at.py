#!/usr/bin/env python3
"""Runs llmhop-generator, and kills it at one of the things that it does to the host.

    kill_at N ARGUMENT…

N counts files that are opened, renamed, linked or removed, directories that are made or
removed, and processes that are started, from 1. It stands on the test host.
"""

import os
import signal
import sys
from typing import Any

from llmhop_generator.cli import main as cli

EVENTS = frozenset(
    """
    open os.chmod os.chown os.link os.mkdir os.remove os.rename os.rmdir fcntl.flock
    shutil.rmtree subprocess.Popen ctypes.dlopen
    """.split()
)
left = int(sys.argv[1])


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    global left
    if event not in EVENTS or (event == "open" and str(arguments[0]).endswith((".py", ".pyc"))):
        return
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(hook)
cli.main(sys.argv[2:])
