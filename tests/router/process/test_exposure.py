"""Whoever listens to others without asking for a token is told so, at each start and reload."""

from __future__ import annotations

import json
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest
from llmhop.process.exposure import is_open_file, is_open_host

from tests.router.support.endpoints import MODELS
from tests.router.support.process import Run

SAID = "authTokens is empty: whoever reaches "


@pytest.mark.parametrize(
    ("host", "is_open"),
    [
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("0.0.0.0", True),  # noqa: S104 - an example
        ("::", True),
        ("::ffff:0.0.0.0", True),
        ("::ffff:10.0.0.1", True),
        ("10.0.0.1", True),
        ("192.168.1.2", True),
        ("128.0.0.1", True),
        ("169.254.1.1", True),
        ("fe80::1%eth0", True),
        ("2001:db8::1", True),
        ("::2", True),
    ],
)
def test_what_other_hosts_reach(host: str, is_open: bool) -> None:
    assert is_open_host(host) is is_open


@pytest.mark.parametrize(
    ("mode", "directories", "is_open"),
    [
        (0o660, [0o755], False),
        (0o600, [0o755], False),
        (0o664, [0o755], False),  # connecting takes the right to write
        (0o666, [0o755], True),
        (0o662, [0o755, 0o755], True),
        (0o777, [0o755, 0o750], False),
        (0o777, [0o700, 0o755], False),
        (0o777, [0o711], True),
    ],
)
def test_which_users_reach_a_unix_socket(mode: int, directories: list[int], is_open: bool) -> None:
    assert is_open_file(mode, directories) is is_open


def listens(listen: str | list[str], **more: Any) -> dict[str, Any]:
    return {"models": MODELS, "listen": listen, **more}


@pytest.mark.parametrize("workers", [1, 2])
def test_it_is_told_at_each_start_and_reload(workers: int, run: Run) -> None:
    config = listens(["0.0.0.0:0", "127.0.0.1:0"], workers=workers)
    process = run({**config, "authTokens": []})
    process.write({**config, "authTokens": ["secret"]})
    process.reload()
    process.write(config)
    process.reload()
    process.stop()
    process.process.wait(20)
    said = [line for line in process.end().splitlines() if SAID in line]
    assert len(said) == 2
    for line in said:
        assert f"{SAID}http://0.0.0.0:" in line
        assert "://127.0.0.1:" not in line


@pytest.mark.parametrize(
    ("listen", "mode", "is_open"),
    [
        ("127.0.0.1:0", "0666", False),
        ("localhost:0", "0666", False),
        ("[::1]:0", "0666", False),
        (":0", "0660", True),
        ("[::]:0", "0660", True),
        ("unix:DIR/s", "0660", False),
        ("unix:DIR/s", "0666", True),
    ],
)
def test_what_is_bound_decides(listen: str, mode: str, is_open: bool, run: Run) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        Path(directory).chmod(0o755)  # everybody may search it, as /run
        process = run(listens(listen.replace("DIR", directory), socketMode=mode))
        process.stop()
        process.process.wait(20)
    assert (SAID in process.end()) is is_open


@pytest.mark.parametrize(("host", "is_open"), [("127.0.0.1", False), ("0.0.0.0", True)])  # noqa: S104
def test_sockets_of_systemd_are_looked_at_too(host: str, is_open: bool, run: Run) -> None:
    with socket.create_server((host, 0)) as passed:
        process = run(listens("127.0.0.1:0"), sockets=[passed])
        process.stop()
        process.process.wait(20)
    assert (SAID in process.end()) is is_open


def test_an_abstract_unix_socket_is_open_to_every_user(run: Run, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(f"\0llmhop-{tmp_path.name}-{id(passed)}")
        passed.listen()
        process = run(listens("127.0.0.1:0"), sockets=[passed])
        process.stop()
        process.process.wait(20)
    assert f"{SAID}unix:" in process.end()


DIFFERS = "llmhop: systemd passes other sockets than listen says: "


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("host", "listen", "differs"),
    [
        ("127.0.0.1", "127.0.0.1:PORT", False),
        ("127.0.0.1", "127.0.0.1:0", False),
        ("127.0.0.1", "localhost:PORT", False),
        ("0.0.0.0", ":PORT", False),  # noqa: S104
        ("127.0.0.1", None, False),  # what is not said is systemd's to say
        ("127.0.0.1", "127.0.0.1:1", True),
        ("127.0.0.1", "localhost:1", True),
        ("127.0.0.1", "127.0.0.2:PORT", True),
        ("0.0.0.0", "127.0.0.1:PORT", True),  # noqa: S104
        ("127.0.0.1", ":PORT", True),
        ("127.0.0.1", ["127.0.0.1:PORT", "127.0.0.2:PORT"], True),
        ("127.0.0.1", "unix:/run/x.sock", True),
    ],
)
def test_sockets_of_systemd_that_are_not_what_listen_says_are_told(
    host: str, listen: str | list[str] | None, differs: bool, workers: int, run: Run
) -> None:
    with socket.create_server((host, 0)) as passed:
        port = str(passed.getsockname()[1])
        config = {"models": {"m": {"url": "http://h"}}, "workers": workers}
        if listen is not None:
            config = json.loads(json.dumps({**config, "listen": listen}).replace("PORT", port))
        process = run(config, sockets=[passed])
    process.stop()
    process.process.wait(20)
    assert (process.started + process.end()).count(f"{DIFFERS}{host}:{port}, and not ") == differs


def test_every_unix_socket_that_listen_names_has_to_be_passed(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(path))
        passed.listen()
        for listen, differs in ((str(path), False), (f"{path}2", True)):
            process = run(listens(f"unix:{listen}"), sockets=[passed])
            process.stop()
            process.process.wait(20)
            assert (f"{DIFFERS}unix:{path}, " in process.started + process.end()) == differs
