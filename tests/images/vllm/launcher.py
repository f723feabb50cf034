#!/usr/bin/python3
"""The image's `vllm` command. Without the guard, the engine process, which is spawned and
imports this file again, would start a second server."""

from vllm.entrypoints.cli.main import main  # type: ignore[import-not-found]

if __name__ == "__main__":
    main()
