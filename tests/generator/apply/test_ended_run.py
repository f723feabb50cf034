"""What a run says that is told to end, and of models that it does not touch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.apply.run import apply
from llmhop_generator.host.signals import Ended
from llmhop_generator.parse.load import parse_config

from tests.generator.conftest import MINIMAL
from tests.generator.support.private_host import PrivateHost, why_not
from tests.generator.support.simulated_host import SimulatedHost

A, B, C = "vllm-a.service", "vllm-b.service", "vllm-c.service"
WAY_OUT = ". Apply again to go on, or the earlier configuration to go back"


def bring(told: list[str], **settings: Any) -> None:
    models = {
        name: {"model": "m", "port": 18001 + number, "settings": settings.get(name, {})}
        for number, name in enumerate("abc")
    }
    vllm = {**MINIMAL["vllm"], "openFilesLimit": 64, "models": models}
    read = parse_config(json.dumps({**MINIMAL, "vllm": vllm}).encode(), "config.json")
    apply(read, told.append, lambda _: None, wait=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
@pytest.mark.parametrize(
    ("effect", "count", "left"),
    [
        ("stage", 1, "nothing was changed"),
        (
            "stop",
            2,
            f"at the step `stop {B}: changed`; stopped and not started again: {B}; "
            f"not replaced: {C}",
        ),
        (
            "sleep",
            1,
            f"at the step `wait {A}: until it is healthy; then its route`; "
            f"started, and systemd goes on with it: {A}; not replaced: {B}, {C}",
        ),
    ],
)
def test_a_signal_leaves_a_note_of_what_is_left(
    effect: str, count: int, left: str, number: int, simulated: SimulatedHost
) -> None:
    told: list[str] = []
    bring(told)
    seen = 0

    def end(name: str) -> None:
        nonlocal seen
        seen += name == effect
        if name == effect and seen == count:
            raise Ended(number)

    simulated.interrupt = end
    with pytest.raises(Ended) as ended:
        bring(told, **{name: {"seed": 1} for name in "abc"})
    assert ended.value.__notes__ == [left]
    assert ended.value.code == 128 + number


def test_of_models_that_a_run_does_not_touch_it_tells_nothing(simulated: SimulatedHost) -> None:
    told: list[str] = []
    bring(told)
    told.clear()
    bring(told, b={"seed": 1})
    assert f"stop {B}: changed" in told
    assert [line for line in told if line.startswith("b: healthy (")]
    assert not [line for line in told if line.startswith(("a:", "c:"))], told
    told.clear()
    bring(told, b={"seed": 1})
    assert told == ["nothing to do"]


def test_what_fails_beside_the_models_of_a_run_is_told(simulated: SimulatedHost) -> None:
    told: list[str] = []
    bring(told)
    simulated.ailing = {A}

    def crash(effect: str) -> None:
        if effect == "sleep" and simulated.unit(A).state == "active":
            simulated.crash(A)

    simulated.interrupt = crash
    bring(told, b={"seed": 1})
    assert told[-1] == "a: failed: exit-code"


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT"])
def test_a_run_that_is_told_to_end_says_so(name: str, tmp_path: Path) -> None:
    host = PrivateHost(tmp_path)
    # llmhop judges the settings for ever.
    host.put("opt/llmhop", f"#!/bin/sh\ntouch {tmp_path}/asked\nsleep 60\n").chmod(0o755)
    far = {"settings": {"models": {"far": {"url": "http://127.0.0.1:9"}}}}
    config = host.put("config.json", json.dumps({**MINIMAL, "llmhop": far}))
    words = host.command("apply", config, "--llmhop", host.llmhop)
    # Of what runs in the background of a shell SIGINT and SIGQUIT are ignored.
    before = {each: signal.signal(each, signal.SIG_DFL) for each in (signal.SIGINT, signal.SIGQUIT)}
    with subprocess.Popen(
        words,
        env={**os.environ, **host.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        for number, handler in before.items():
            signal.signal(number, handler)
        while not (tmp_path / "asked").exists():
            assert child.poll() is None, child.communicate()
            time.sleep(0.05)
        child.send_signal(getattr(signal, f"SIG{name}"))
        output, errors = child.communicate(timeout=30)
    assert output == ""
    assert errors.splitlines()[0] == (f"error: ended by SIG{name}: nothing was changed{WAY_OUT}")
    assert child.returncode == 128 + getattr(signal, f"SIG{name}")
