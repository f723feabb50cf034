"""What `validate` and `check` print for programs. Its shape is kept: programs read it."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from tests.generator.conftest import MINIMAL, Command
from tests.generator.support.private_host import PrivateHost, why_not

FAR = {
    "version": 1,
    "llmhop": {"enable": True, "settings": {"models": {"far": {"url": "http://127.0.0.1:9"}}}},
}


def changed(**options: Any) -> dict[str, Any]:
    config = deepcopy(MINIMAL)
    config["vllm"] |= options
    return config


def test_a_valid_configuration_is_told_with_its_models(generator: Command) -> None:
    done = generator("validate", "-", "--json", stdin=json.dumps(MINIMAL))
    assert (done.returncode, done.stderr) == (0, "")
    model = {"name": "qwen2-5-7b", "model": "Qwen/Qwen2.5-7B-Instruct", "port": 18001}
    assert json.loads(done.stdout) == {
        "error": None,
        "problems": [],
        "warnings": [],
        "models": [model],
    }


def test_a_warning_is_told_with_its_place(generator: Command) -> None:
    low = changed(models={"a": {"model": "m", "port": 80}})
    done = generator("validate", "-", "--json", stdin=json.dumps(low))
    assert (done.returncode, done.stderr) == (0, "")
    (warning,) = json.loads(done.stdout)["warnings"]
    assert warning["where"] == "vllm.models.a.port"
    assert warning["what"].startswith("80 is below 1024")


def test_every_problem_is_told_with_its_place(generator: Command) -> None:
    bad = changed(uid="x", tga="v1")
    done = generator("validate", "-", "--json", stdin=json.dumps(bad))
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout) == {
        "error": "-: 2 problems",
        "warnings": [],
        "models": [],
        "problems": [
            {"where": "vllm.tga", "what": "is not an option; did you mean tag?"},
            {"where": "vllm.uid", "what": "must be a whole number, not a string"},
        ],
    }


def test_what_is_no_configuration_is_one_error(generator: Command) -> None:
    done = generator("validate", "/nowhere.json", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    told = "/nowhere.json: no such file; give the path of a JSON configuration"
    assert json.loads(done.stdout) == {
        "error": told,
        "problems": [],
        "warnings": [],
        "models": [],
    }


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_what_a_host_lacks_is_told_with_its_places(tmp_path: Any) -> None:
    host = PrivateHost(tmp_path)
    plain = host.run("check", config=MINIMAL)
    done = host.run("check", "--json", config=MINIMAL)
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    lines = [f"  {each['where']}: {each['what']}" for each in found["problems"]]
    assert plain.stderr.splitlines() == [f"error: {found['error']}", *lines]
    assert "vllm.user" in {each["where"] for each in found["problems"]}
    assert found["notes"] == plain.stdout.splitlines() == []


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_notes_are_told_of_a_host_that_is_not_ready_too(tmp_path: Any) -> None:
    host = PrivateHost(tmp_path)
    host.put("etc/a.env", "A=1\n").chmod(0o644)
    vllm = {**MINIMAL["vllm"], "environmentFile": "/etc/a.env"}
    plain = host.run("check", config={**MINIMAL, "vllm": vllm})
    done = host.run("check", "--json", config={**MINIMAL, "vllm": vllm})
    [note] = json.loads(done.stdout)["notes"]
    assert plain.stdout == f"{note}\n"
    assert "/etc/a.env can be read by every user of this host" in note


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_a_host_that_is_ready_has_no_problems(tmp_path: Any) -> None:
    host = PrivateHost(tmp_path)
    host.put("etc/passwd", "root:x:0:0::/root:/bin/sh\nllmhop:x:0:0::/:/bin/false\n")
    host.put("etc/group", "root:x:0:\nllmhop:x:0:\n")
    assert host.run("provision", config=FAR).returncode == 0
    done = host.run("check", "--json", config=FAR)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"error": None, "problems": [], "notes": []}
