"""What is given as CONFIG: files, pipes, and what is no file. Nothing of it is waited for."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.parse.config_input import MAX_BYTES, read_input

VALID = json.dumps({"version": 1})
COMMANDS = ("validate", "render", "provision", "check", "diff", "apply")
END_S = 30
"""Longer than any command takes; one that waits for a pipe would wait for ever."""


def run(*words: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "llmhop_generator", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=END_S,
        **options,
    )


def fifo(path: Path) -> None:
    os.mkfifo(path)


def listener(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def directory(path: Path) -> None:
    path.mkdir()


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)


def loop(path: Path) -> None:
    path.symlink_to(path)


MADE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a named pipe": (fifo, "is a named pipe, which nobody may ever write; give a file, or - and"),
    "a socket": (listener, "is a socket; give the path of a JSON file"),
    "a directory": (directory, "is a directory; give the path of a JSON file"),
    "a huge file": (huge, "is larger than 64 MiB"),
    "a link to itself": (loop, "can't be read: Too many levels of symbolic links"),
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_no_configuration_is_told_at_once(name: str, tmp_path: Path) -> None:
    make, told = MADE[name]
    path = tmp_path / "config.json"
    make(path)
    done = run("validate", path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {path}: {told}"), done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_waits_for_a_named_pipe(command: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    os.mkfifo(path)
    more = ("-o", tmp_path / "out") if command == "render" else ()
    done = run(command, path, *more)
    assert done.returncode == 1
    assert "is a named pipe" in done.stderr


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/random"])
def test_a_device_is_not_opened(device: str) -> None:
    done = run("validate", device)
    assert done.returncode == 1
    assert done.stderr == f"error: {device}: is a device; give the path of a JSON file\n"


def test_an_empty_path_is_said_to_be_empty() -> None:
    done = run("validate", "")
    assert done.returncode == 1
    assert done.stderr == (
        "error: the path of the configuration is empty; "
        "give that of a JSON file, or - for standard input\n"
    )


def test_a_name_that_is_no_text_is_told_without_a_traceback(tmp_path: Path) -> None:
    done = run("validate", os.fsdecode(os.fsencode(tmp_path) + b"/\xff.json"))
    assert done.returncode == 1
    assert "no such file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
def test_what_comes_through_a_pipe_is_read_to_its_end(name: str) -> None:
    writer = f"sleep 0.2; printf '%s' '{VALID[:5]}'; sleep 0.2; printf '%s' '{VALID[5:]}'"
    command = [sys.executable, "-m", "llmhop_generator", "validate", name]
    done = subprocess.run(
        ["bash", "-c", f'{{ {writer}; }} | "$@"', "-", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=END_S,
    )
    assert done.returncode == 0, done.stderr
    assert f"{name} is valid" in done.stdout


def test_a_pipe_without_a_name_is_waited_for() -> None:
    """What is read comes only when the reader has opened it."""
    reader, writer = os.pipe()

    def opened() -> int:
        links = [os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()]
        return links.count(os.path.realpath(f"/proc/self/fd/{reader}"))

    before, over = opened(), threading.Event()

    def write() -> None:
        while opened() == before and not over.is_set():
            time.sleep(0.01)
        for piece in (VALID[:5], VALID[5:]):
            time.sleep(0.05)
            os.write(writer, piece.encode())
        os.close(writer)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert read_input(f"/dev/fd/{reader}") == VALID.encode()
    finally:
        over.set()
        thread.join()
        os.close(reader)


def test_the_output_of_a_command_can_be_named_as_shells_do() -> None:
    command = f"{sys.executable} -m llmhop_generator validate <(sleep 0.2; echo '{VALID}')"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=END_S
    )
    assert done.returncode == 0, done.stderr
    assert "is valid" in done.stdout


def test_standard_input_may_be_a_socket_as_services_have_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(VALID.encode())
        ours.shutdown(socket.SHUT_WR)
        done = run("validate", "-", stdin=theirs.fileno())
    assert done.returncode == 0, done.stderr


def test_endless_input_is_refused_and_not_kept() -> None:
    with Path("/dev/zero").open("rb") as zeros:
        done = run("validate", "-", stdin=zeros)
    assert done.returncode == 1
    assert done.stderr.startswith("error: -: is larger than 64 MiB")


def test_closed_standard_input_is_told() -> None:
    command = [sys.executable, "-m", "llmhop_generator", "validate", "-"]
    done = subprocess.run(
        ["bash", "-c", '"$@" <&-', "-", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=END_S,
    )
    assert done.returncode == 1
    assert done.stderr == "error: -: standard input is closed; give the path of a JSON file\n"


@pytest.mark.parametrize("kind", ["a directory", "a named pipe", "a socket", "no program", "empty"])
def test_a_router_that_is_no_program_is_named(
    kind: str, config_file: Callable[[Any], Path], tmp_path: Path
) -> None:
    path = tmp_path / "llmhop"
    if kind in MADE:
        MADE[kind][0](path)
    else:
        path.write_text("not a program\n" if kind == "no program" else "")
        path.chmod(0o755)
    llmhop = {"enable": True, "settings": {"models": {"a": {"url": "http://h"}}}}
    done = run("validate", config_file({"version": 1, "llmhop": llmhop}), "--llmhop", path)
    assert done.returncode == 0
    assert f"warning: the settings of llmhop were not checked, as {path} can't be" in done.stderr
    assert "Traceback" not in done.stderr
