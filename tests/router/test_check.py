"""`llmhop --check`: what is said of a config, and that nothing else is done."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.router.support.endpoints import (
    TIMEOUT,
)
from tests.router.support.process import Run, llmhop


def test_a_check_imports_no_event_loop() -> None:
    """It is asked before every change of a host, and importing one would take a third of it."""
    script = "import sys, llmhop.cli; print({'asyncio', 'ssl', 'uvloop'} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["--schema"], ["--config", "FILE", "--check"]]
)
def test_output_that_can_not_be_written_is_told_in_a_line(
    arguments: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "llmhop.json"
    path.write_text('{"models": {"m": {"url": "http://h"}}}')
    given = [str(path) if word == "FILE" else word for word in arguments]
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-m", "llmhop", *given],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "llmhop: standard output can't be written (No space left on device)\n"


def test_authorities_that_can_not_be_read_are_told_where_there_is_an_https_backend(
    tmp_path: Path,
) -> None:
    path, authorities = tmp_path / "llmhop.json", tmp_path / "authorities.pem"
    for content, reason in ((None, "No such file or directory"), ("x", "not PEM")):
        if content is not None:
            authorities.write_text(content)
        for scheme, code in (("http", 0), ("https", 1)):
            path.write_text(json.dumps({"models": {"m": {"url": f"{scheme}://h"}}}))
            done = llmhop("--config", str(path), "--check", SSL_CERT_FILE=str(authorities))
            assert done.returncode == code
            assert (
                f"SSL_CERT_FILE: names no certificates of authorities ({reason}); name a"
                in done.stderr
            ) == bool(code)


def test_check_tells_programs_each_problem_and_its_path(tmp_path: Path) -> None:
    path = tmp_path / "llmhop.json"
    path.write_text(json.dumps({"workers": "two", "models": {"a.b": {"urls": [1]}}}))
    done = llmhop("--config", str(path), "--check", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    url, workers = json.loads(done.stdout)["problems"]
    assert workers == {
        "where": "workers",
        "what": "is not a whole number",
        "todo": "write a number from 1 to 256",
        "path": ["workers"],
    }
    assert url["path"] == ["models", "a.b", "urls", 0]
    path.write_text(json.dumps({"models": {"m": {"url": "http://h"}}}))
    done = llmhop("--config", str(path), "--check", "--json")
    assert (done.returncode, done.stderr, json.loads(done.stdout)) == (0, "", {"problems": []})


def test_a_check_without_secrets_reads_no_file_and_no_variable(tmp_path: Path) -> None:
    path = tmp_path / "llmhop.json"
    config = {
        "tls": {"certificate": "cert.pem", "key": "key.pem"},
        "authTokens": ["${file:token}", "$NOT_SET"],
        "models": {"m": {"url": "http://h", "headers": {"A": "Bearer ${env:NOT_SET}"}}},
    }
    path.write_text(json.dumps(config))
    arguments = ("--config", str(path), "--check")
    assert llmhop(*arguments).returncode == 1
    done = llmhop(*arguments, "--without-secrets")
    assert (done.returncode, done.stderr) == (0, "")
    path.write_text(json.dumps(config | {"authTokens": ["", "${file:}"], "tls": {"key": "\0"}}))
    done = llmhop(*arguments, "--without-secrets")
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == [
        *("tls.certificate", "tls.key", "authTokens[0]", "authTokens[1]")
    ]


def test_what_belongs_to_a_check_is_refused_without_it(tmp_path: Path) -> None:
    for option in ("--json", "--without-secrets"):
        assert llmhop("--config", str(tmp_path / "llmhop.json"), option).returncode == 2


def test_check_says_what_would_be_served_and_binds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "llmhop.json"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        models = {"a": {"url": "http://h"}, "b": {"url": "https://h"}}
        path.write_text(json.dumps({"listen": address, "models": models}))
        done = llmhop("--config", str(path), "--check")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"ok: 2 models, listening on {address}\n"
        done = llmhop("--config", str(path))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"listen: can't bind {address} (")
        assert "Traceback" not in done.stderr


BAD_FILES = {
    "byte order mark": (b"\xef\xbb\xbf{}", "begins with a byte order mark"),
    "empty": (b"", "is not JSON (line 1, column 1: Expecting value)"),
    "not JSON": (b'{\n  "models": {,\n}', "is not JSON (line 2, column 14"),
    "trailing comma": (b'{"models": {},}', "is not JSON (line 1, column"),
    "not UTF-8": (b'{"listen": "\xff"}', "is not UTF-8 (byte 12)"),
    "endless number": (b'{"port": ' + b"1" * 5000 + b"}", "has a number that is too long"),
    "deep nesting": (b"[" * 100_000, "is nested too deeply"),
}


@pytest.mark.parametrize(("content", "words"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_is_no_config_is_refused_with_its_name(
    content: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "llmhop.json"
    path.write_bytes(content)
    done = llmhop("--config", str(path), "--check")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{path}: {words}")
    assert len(done.stderr.splitlines()) == 1


def test_a_path_that_can_not_be_read_is_refused_with_its_name(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path, "is a directory"),
        (tmp_path / "none", "does not exist"),
        (tmp_path / "file" / "below", "can't be read (Not a directory)"),
    ):
        (tmp_path / "file").touch()
        done = llmhop("--config", str(path))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"{path}: {words}")
        assert len(done.stderr.splitlines()) == 1


def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "llmhop.json"
    path.write_text("{}")
    path.chmod(0)
    # Root reads everything, so the command runs without that right where we are root.
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*drop, sys.executable, "-m", "llmhop", "--config", str(path)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"{path}: can't be read (permission denied); let the user of llmhop read it\n"
    )


def test_every_problem_of_a_config_is_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "llmhop.json"
    path.write_text('{"port": "x", "modelz": {}, "models": {"m": {"url": "h"}}}')
    done = llmhop("--config", str(path))
    assert (done.returncode, done.stdout) == (1, "")
    starts = [line.partition(": ")[0] for line in done.stderr.splitlines()]
    assert starts == ["modelz", "port", "models.m.url"]


DOUBTFUL = """{"workers": 1, "listen": ":1", "listen": 2, "modelz": 1, "maxBodyBytes": NaN,
"authTokens": ["t", Infinity], "workers": 2, "workers": 3, "models": {
"a b": {"url": "http://h", "url": "h", "aliases": []}, "m": {"urls": [{"x": 1, "x": 1}]},
"m": {"url": "h", "retries": -Infinity}}}"""


def test_keys_that_are_there_twice_are_named_all_at_once_and_with_all_else(tmp_path: Path) -> None:
    """In the value of the first one too, which Python's json forgets."""
    path = tmp_path / "llmhop.json"
    path.write_text(DOUBTFUL)
    for option in ([], ["--without-secrets"]):
        done = llmhop("--config", str(path), "--check", *option)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines() == [
            "listen: is there more than once; keep one",
            "workers: is there more than once; keep one",
            "maxBodyBytes: is NaN, which JSON does not know; correct it",
            "authTokens[1]: is Infinity, which JSON does not know; correct it",
            "models.m: is there more than once; keep one",
            'models."a b".url: is there more than once; keep one',
            "models.m.urls[0].x: is there more than once; keep one",
            "models.m.retries: is -Infinity, which JSON does not know; correct it",
            "modelz: is not a known key; write models",
        ]


@pytest.mark.parametrize(
    "text",
    [
        r"""{"\ud800": 1, "\ud800": 2, "models": {}}""",
        r"""{"\ud800": 1, "models": {}}""",
        r"""{"models": {"\ud800": {"url": 1}}}""",
    ],
    ids=["twice", "unknown", "a model"],
)
def test_half_of_a_surrogate_pair_in_a_key_is_told_to_programs_too(
    text: str, tmp_path: Path
) -> None:
    path = tmp_path / "llmhop.json"
    path.write_text(text)
    done = llmhop("--config", str(path), "--check", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    paths = [problem["path"] for problem in json.loads(done.stdout)["problems"]]
    assert ["\ud800"] in paths or ["models", "\ud800"] in [path[:2] for path in paths]


def test_a_url_that_is_probably_not_meant_is_noted(tmp_path: Path) -> None:
    """It is right where both are names of one model there, or where no llmhop is."""
    path = tmp_path / "llmhop.json"
    models = {
        "m": {"url": "http://h/route/other"},
        "o/n": {"urls": ["http://a/route/o%2Fn", "unix:/s:/x/route/o", "http://a/route/o/v1/"]},
        "n": {"url": "http://h/route/n/"},
        "p": {"url": "http://h", "aliases": ["q"]},
        "v": {"urls": ["http://h/v1", "http://h/v1beta/openai", "http://h/route/v/metrics"]},
        "w": {"urls": ["http://h/route/w/v1", "http://h/route/", "http://h/xv1"]},
    }
    path.write_text(json.dumps({"models": models}))
    done = llmhop("--config", str(path), "--check")
    assert (done.returncode, done.stdout[:13]) == (0, "ok: 6 models,")
    refused = "an llmhop there refuses that, unless both are names of one model"
    assert done.stderr.splitlines() == [
        f"note: models.m.url: leads to the model 'other', and bodies name 'm'; {refused}",
        f"note: models.\"o/n\".urls[1]: leads to the model 'o', and bodies name 'o/n'; {refused}",
        f"note: models.\"o/n\".urls[2]: leads to the model 'o', and bodies name 'o/n'; {refused}",
    ]
    done = llmhop("--config", str(path), "--check", "--json")
    assert (done.returncode, done.stderr, json.loads(done.stdout)) == (0, "", {"problems": []})


STEERING = "\x1b[2J\x9b31m\r\n\x85\u2028\u2029\u202e\u2066\x7f\t"
"""What clears a terminal, begins a line, or turns the direction of text."""

HOSTILE = {
    "listen": f"unix:/{STEERING[5:6]}",
    "models": {
        STEERING: {"url": STEERING, "aliases": [1]},
        "m": {"url": "http://h", "headers": {"X": f"${{file:{STEERING}}}"}},
    },
    STEERING: 1,
    "authTokens": [f"${{{STEERING}}}", f"${{env:{STEERING}}}"],
}


def is_of_plain_lines(text: str) -> bool:
    """Whether each line of a text is a line to whoever reads it, and steers no terminal."""
    return all(line.isprintable() for line in text.removesuffix("\n").split("\n"))


def test_what_a_config_quotes_steers_no_terminal_and_begins_no_line(
    tmp_path: Path, run: Run
) -> None:
    path = tmp_path / "hostile.json"
    path.write_text(json.dumps(HOSTILE))
    told = llmhop("--config", str(path), "--check").stderr
    assert is_of_plain_lines(told)
    programs = json.loads(llmhop("--config", str(path), "--check", "--json").stdout)["problems"]
    assert len(programs) == told.count("\n") > 5
    assert llmhop("--config", str(path)).stderr == told
    process = run({"listen": f"unix:{tmp_path}/\x9b\u202e", "models": {"m": {"url": "http://h"}}})
    process.write(HOSTILE)
    process.reload()
    assert is_of_plain_lines(process.started)
    assert process.end().startswith(f"llmhop: reload refused, the old config stays:\n{told}")


def test_what_a_good_config_quotes_steers_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "llmhop.json"
    models = {f"m{STEERING}": {"url": "http://h/route/%1b%9b%E2%80%AE"}}
    path.write_text(json.dumps({"listen": "unix:/s\x9b\u202e", "models": models}))
    done = llmhop("--config", str(path), "--check")
    assert done.stdout == "ok: 1 model, listening on unix:/s\\u009b\\u202e\n"
    assert done.stderr.count("\n") == 1
    assert is_of_plain_lines(done.stderr)
