"""No file that llmhop reads while it serves can have it wait: FIFOs, devices."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from llmhop.config.findings import ConfigError
from llmhop.config.regular_file import read_regular
from llmhop.config.secrets import SecretError, expand
from llmhop.config.tls import load_certificate

from tests.router.support.endpoints import TIMEOUT, ask
from tests.router.support.process import Process, Run, llmhop

GOOD = {"listen": "127.0.0.1:0", "models": {"m": {"url": "http://127.0.0.1:1"}}}


def fifo(path: Path) -> None:
    os.mkfifo(path)


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


MAKE: list[Callable[[Path], None]] = [fifo, bound, zero, Path.mkdir]


@pytest.fixture(params=MAKE)
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Something that is no regular file."""
    path = tmp_path / "odd"
    request.param(path)
    return path


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_is_no_regular_file_is_not_read(odd: Path) -> None:
    before = descriptors()
    reasons = "not a regular file|No such device|Is a directory"
    with pytest.raises(OSError, match=reasons):
        read_regular(odd, 100)
    with pytest.raises(SecretError, match=rf"can't be read \(({reasons})"):
        expand(f"${{file:{odd}}}", {})
    with pytest.raises(ConfigError) as caught:
        load_certificate(str(odd), str(odd), {})
    assert [problem.where for problem in caught.value.findings] == ["tls.certificate", "tls.key"]
    assert descriptors() == before


@pytest.mark.parametrize("size", [0, 99, 100, 101, 5_000])
def test_a_regular_file_is_read_up_to_a_byte_beyond_the_limit(size: int, tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"x" * size)
    link.symlink_to(path)
    assert read_regular(path, 100) == read_regular(link, 100) == b"x" * min(size, 101)


def test_a_fifo_as_a_secret_fails_a_check_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    path = tmp_path / "llmhop.json"
    path.write_text('{"models": {"m": {"url": "http://h"}}, "authTokens": ["${file:token}"]}')
    done = llmhop("--config", str(path), "--check", CREDENTIALS_DIRECTORY=str(tmp_path))
    assert done.returncode == 1
    assert f"${{file:token}} can't be read (not a regular file: {tmp_path}/token)" in done.stderr


def served(process: Process) -> int:
    return ask(process.port, b"GET /v1/models/m HTTP/1.1\r\nHost: r\r\n\r\n").status


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_waits_for_no_fifo(workers: int, run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    process = run(GOOD | {"workers": workers})
    process.write(GOOD | {"workers": workers, "authTokens": [f"${{file:{tmp_path}/token}}"]})
    process.reload()
    assert served(process) == 200
    process.path.unlink()
    os.mkfifo(process.path)
    process.reload()
    assert served(process) == 200
    process.stop()
    process.process.wait(TIMEOUT)
    log = process.end()
    assert f"{process.path}: can't be read (not a regular file)" in log
    assert log.count("reload refused, the old config stays") == 2


def test_a_config_may_come_from_a_pipe_at_the_start(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b'{"models": {"m": {"url": "http://h"}}}')
    os.close(writing)
    done = llmhop("--config", f"/proc/{os.getpid()}/fd/{reading}", "--check")
    os.close(reading)
    assert (done.returncode, done.stderr) == (0, "")
