"""The log: plain lines on stderr, which systemd's journal dates and keeps."""

import sys


def log(message: str) -> None:
    """Write one line. The message holds no bodies and no secrets."""
    print(f"llmhop: {message}", file=sys.stderr, flush=True)
