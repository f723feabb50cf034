"""What `status` prints."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest
from llmhop_generator.preflight.boot import PROVISION_HINT
from llmhop_generator.render.tree import render

from tests.generator.conftest import MINIMAL
from tests.generator.support.contracts import parse
from tests.generator.support.private_host import PrivateHost, why_not
from tests.generator.support.terminal import run_on_terminal

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

PLAIN = f"""\
MODEL       STATE    UP  RESTARTS  PORT   DEVICES  IMAGE
qwen2-5-7b  stopped  -   0         18001  -        docker.io/vllm/vllm-openai:v0.11.0
qwen2-5-7b: its manager is down
At the next boot: user 503, whose models these are, does not exist on this host; {PROVISION_HINT}
llmhop is inactive
"""


@pytest.fixture
def host(tmp_path: Path) -> PrivateHost:
    """A host with the units of a model, whose user's manager is down."""
    host = PrivateHost(tmp_path)
    for name, text in render(parse(MINIMAL)).quadlets.items():
        host.put(f"etc/containers/systemd/users/503/llmhop/{name}", text)
    return host


def test_a_reader_that_is_no_terminal_gets_plain_text(host: PrivateHost) -> None:
    done = host.run("status")
    assert (done.returncode, done.stdout, done.stderr) == (0, PLAIN, "")


def test_a_terminal_gets_a_head_in_bold(host: PrivateHost) -> None:
    shown = run_on_terminal(host.command("status"), columns=100, env=host.environment)
    _head, rest = PLAIN.split("\n", 1)
    assert shown.startswith("\033[1m")
    assert shown.endswith(rest)


def test_the_schema_of_what_programs_read_is_stable(host: PrivateHost) -> None:
    found = json.loads(host.run("status", "--json").stdout)
    assert found == {
        "models": [
            {
                "model": "qwen2-5-7b",
                "state": "stopped",
                "up_s": None,
                "restarts": 0,
                "port": 18001,
                "image": "docker.io/vllm/vllm-openai:v0.11.0",
                "image_id": None,
                "image_digest": None,
                "devices": [],
                "unit": "vllm-qwen2-5-7b.service",
                "last_error": "its manager is down",
                "earlier_unit": False,
                "edited_unit": False,
                "unrouted": False,
                "hidden_by": None,
                "drop_ins": [],
            }
        ],
        "llmhop": {
            "state": "inactive",
            "up_s": None,
            "restarts": 0,
            "says": "",
            "unit": "llmhop.service",
            "last_error": None,
            "foreign_config": None,
        },
        "unseen": [],
        "unanswered": [],
        "applying": None,
        "cut_off": False,
        "boot": [
            {
                "where": "vllm.user",
                "what": "user 503, whose models these are, does not exist on this host; "
                f"{PROVISION_HINT}",
            }
        ],
    }


def test_while_a_run_is_at_work_it_is_told(host: PrivateHost) -> None:
    lock = host.put("run/llmhop-generator.lock", f"{os.getpid()}\n")
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        told = host.run("status").stdout.splitlines()
        shown = f"An apply is under way (pid {os.getpid()}): what is shown may change"
        assert told[2].startswith(shown)
        assert json.loads(host.run("status", "--json").stdout)["applying"] == os.getpid()
    assert host.run("status").stdout == PLAIN


NOBODY = 'exec unshare --user "$0" "$@"'
"""Of a namespace in which it has no number, a process is nobody (65534)."""
UNIT = "etc/containers/systemd/users/{}/llmhop/vllm-qwen2-5-7b.container"


def test_another_user_is_told_what_it_can_not_see(host: PrivateHost) -> None:
    host.put("run/up/user@503.service", "")
    host.put("run/up/llmhop.service", "")
    done = host.run("status", before=NOBODY)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == [
        "qwen2-5-7b  unknown  -   -         18001  -        docker.io/vllm/vllm-openai:v0.11.0",
        # The stand-in for systemctl does not say since when.
        done.stdout.splitlines()[2],
        "Not shown: how the models of user 503 are, what was applied last, the journal; "
        "run it as root",
    ]
    assert done.stdout.splitlines()[2].startswith("llmhop is active for ")
    found = json.loads(host.run("status", "--json", before=NOBODY).stdout)
    model = found["models"][0]
    assert (model["state"], model["restarts"], model["last_error"]) == ("unknown", None, None)
    assert len(found["unseen"]) == 3


def test_models_that_may_run_without_a_file_are_not_passed_over(host: PrivateHost) -> None:
    (host.root / UNIT.format(503)).unlink()
    host.put("run/up/user@503.service", "")
    assert "how the models of user 503 are" in host.run("status", before=NOBODY).stdout


@pytest.fixture
def own_host(host: PrivateHost) -> PrivateHost:
    """The host, whose models are those of the user that the process is, and up."""
    (host.root / UNIT.format(503)).rename(host.put(UNIT.format(65534), ""))
    host.put("etc/passwd", "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    for unit in ("user@65534.service", "vllm-qwen2-5-7b.service"):
        host.put(f"run/up/{unit}", "")
    return host


def put_podman(host: PrivateHost, *, state: str | None = "running", broken: str = "") -> None:
    """Have Podman know a container of the model, or none, or be broken."""
    container = {
        "Names": ["vllm-qwen2-5-7b"],
        "State": state,
        "Image": "r.example/i:v1",
        "ImageID": "0" * 64,
    }
    listed = json.dumps([container] if state else [])
    script = f"echo '{broken}' >&2; exit 1" if broken else f"case $1 in ps) echo '{listed}';; esac"
    host.put("opt/podman", f"#!/bin/sh\n{script}\n").chmod(0o755)


def test_the_user_of_the_models_sees_how_they_are(own_host: PrivateHost) -> None:
    put_podman(own_host)
    done = own_host.run("status", before=NOBODY)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].startswith("qwen2-5-7b  healthy  ")
    assert len(done.stdout.splitlines()) == 4
    assert done.stdout.endswith("Not shown: what was applied last, the journal; run it as root\n")
    command = own_host.command("status", before=NOBODY)
    shown = run_on_terminal(command, columns=100, env=own_host.environment)
    assert "\033[32mhealthy\033[0m" in shown


@pytest.mark.parametrize(
    ("state", "shown", "words"),
    [
        ("paused", "paused", "is paused and answers nobody; `podman unpause vllm-qwen2-5-7b`"),
        ("exited", "exited", "it has ended, and its service does not know it"),
        ("stopped", "stopped", "it has ended, and its service does not know it"),
        ("created", "created", "it was made and never started"),
        ("configured", "configured", "it was made and never started"),
        ("initialized", "initialized", "it was made and never started"),
        ("stopping", "stopping", "it is being stopped"),
        ("removing", "removing", "it is being removed"),
        ("unknown", "unknown", "Podman calls its state unknown"),
        (None, "healthy", "is gone from Podman's storage"),
    ],
)
def test_a_container_is_told_as_what_podman_says_it_is(
    state: str | None, shown: str, words: str, own_host: PrivateHost
) -> None:
    put_podman(own_host, state=state)
    told = own_host.run("status", before=NOBODY).stdout.splitlines()
    assert told[1].startswith(f"qwen2-5-7b  {shown}  ")
    assert told[2].startswith("qwen2-5-7b: its container")
    assert words in told[2]


def test_a_podman_that_can_not_be_asked_is_told_and_the_rest_shown(own_host: PrivateHost) -> None:
    put_podman(own_host, broken="Failed to obtain podman configuration: toml: line 1")
    done = own_host.run("status", before=NOBODY)
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.splitlines()
    assert told[1].startswith("qwen2-5-7b  healthy  ")
    why = (
        "Podman can't be asked as user 65534 (exit code 1): "
        "Failed to obtain podman configuration: toml: line 1; "
        "`podman info` as that user has to work"
    )
    assert told[3] == f"Not known of images and containers: {why}"
    assert "gone" not in done.stdout
    found = json.loads(own_host.run("status", "--json", before=NOBODY).stdout)
    assert found["unanswered"] == [why]


def test_units_that_can_not_be_read_are_an_error_and_no_empty_table(host: PrivateHost) -> None:
    users = host.root / "etc/containers/systemd/users"
    users.chmod(0)
    try:
        done = host.run("status", before=NOBODY)
    finally:
        users.chmod(0o755)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: /etc/containers/systemd/users can't be read: Permission denied\n"
    )


def test_logs_are_for_those_who_may_read_the_journal(host: PrivateHost) -> None:
    words = ("logs", "qwen2-5-7b", "--no-follow")
    done = host.run(*words, before=NOBODY)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: the journal can't be read; run it as root, or as one of the group systemd-journal\n"
    )
    journal = host.put("var/log/journal/0123/system.journal", "")
    done = host.run(*words, before=NOBODY)
    assert done.stdout.startswith("the journal of: "), done.stderr
    journal.unlink()
    host.put("run/log/journal/0123/system.journal", "")
    assert host.run(*words, before=NOBODY).returncode == 0
