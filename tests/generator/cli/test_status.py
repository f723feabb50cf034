"""What `status` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from llmhop_generator.render.tree import render

from tests.generator.conftest import MINIMAL
from tests.generator.support.contracts import parse
from tests.generator.support.private_host import PrivateHost, why_not
from tests.generator.support.terminal import run_on_terminal

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

PLAIN = """\
MODEL       STATE    UP  RESTARTS  PORT   DEVICES  IMAGE
qwen2-5-7b  stopped  -   0         18001  -        docker.io/vllm/vllm-openai:v0.11.0
qwen2-5-7b: its manager is down
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
            }
        ],
        "llmhop": {
            "state": "inactive",
            "up_s": None,
            "restarts": 0,
            "says": "",
            "unit": "llmhop.service",
            "last_error": None,
        },
    }
