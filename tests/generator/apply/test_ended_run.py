"""What a run says that is told to end, and of models that it does not touch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from llmhop_generator.apply.run import apply, put_files
from llmhop_generator.cli.main import main
from llmhop_generator.errors import GeneratorError
from llmhop_generator.host import lock
from llmhop_generator.host.signals import ENDING, Ended
from llmhop_generator.parse.load import parse_config

from tests.generator.conftest import MINIMAL
from tests.generator.support.private_host import PrivateHost, why_not
from tests.generator.support.simulated_host import SimulatedHost

A, B, C = "vllm-a.service", "vllm-b.service", "vllm-c.service"
WAY_OUT = ". Apply again to go on, or the earlier configuration to go back"


def configuration(**settings: Any) -> bytes:
    models = {
        name: {"model": "m", "port": 18001 + number, "settings": settings.get(name, {})}
        for number, name in enumerate("abc")
    }
    vllm = {**MINIMAL["vllm"], "openFilesLimit": 64, "models": models}
    return json.dumps({**MINIMAL, "vllm": vllm}).encode()


def bring(told: list[str], **settings: Any) -> None:
    read = parse_config(configuration(**settings), "config.json")
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


def ends_before(effect: str) -> Callable[[str], None]:
    def end(name: str) -> None:
        if name == effect:
            raise Ended(signal.SIGTERM)

    return end


@pytest.mark.parametrize(
    ("effect", "left"),
    [
        ("stage", "nothing was changed"),
        ("swap", "at the step `swap units of user 503`"),
    ],
)
def test_a_signal_before_the_users_manager_starts_leaves_a_note(
    effect: str, left: str, simulated: SimulatedHost
) -> None:
    simulated.down = {"user@503.service"}
    simulated.interrupt = ends_before(effect)
    with pytest.raises(Ended) as ended:
        put_files(parse_config(configuration(), "config.json"), print)
    assert ended.value.__notes__ == [left]


def test_a_signal_while_llmhop_is_turned_off_leaves_a_note(simulated: SimulatedHost) -> None:
    bring([])
    off = {**json.loads(configuration()), "llmhop": {"enable": False}}
    simulated.interrupt = ends_before("remove")
    with pytest.raises(Ended) as ended:
        apply(parse_config(json.dumps(off).encode(), "config.json"), print, print, wait=True)
    assert ended.value.__notes__ == ["at the step `stop llmhop: it is not enabled`"]


def test_a_signal_after_the_last_step_says_that_all_were_taken(
    simulated: SimulatedHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remember(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("llmhop_generator.apply.fast_path.remember", remember)
    monkeypatch.setattr("llmhop_generator.cli.main.require_root", lambda *_: None)
    monkeypatch.setattr(lock, "LOCK", tmp_path / "lock")
    config = tmp_path / "config.json"
    config.write_bytes(configuration())
    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        done = CliRunner().invoke(main, ["apply", str(config)])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert done.exit_code == 128 + signal.SIGTERM, done.output
    assert f"error: ended by SIGTERM: every step was taken{WAY_OUT}\n" in done.output


def test_a_run_reports_nothing_of_models_that_it_does_not_touch(simulated: SimulatedHost) -> None:
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
    assert errors == f"error: ended by SIG{name}: nothing was changed{WAY_OUT}\n"
    assert child.returncode == 128 + getattr(signal, f"SIG{name}")


def test_a_run_that_fails_says_what_it_leaves_and_what_to_do(
    simulated: SimulatedHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmhop_generator.cli.main.require_root", lambda *_: None)
    monkeypatch.setattr("llmhop_generator.cli.main.exit_on_signals", lambda: None)
    monkeypatch.setattr(lock, "LOCK", tmp_path / "lock")
    bring([])
    config = tmp_path / "config.json"
    config.write_bytes(configuration(a={"seed": 1}))

    def refuse(effect: str) -> None:
        if effect == "swap":
            raise GeneratorError("there is no room")

    simulated.interrupt = refuse
    done = CliRunner().invoke(main, ["apply", str(config)])
    assert done.exit_code == 1
    [told] = done.output.split("error: ")[1:]
    assert told == (
        "there is no room\n  The run ended at the step `swap units of user 503`; stopped and not "
        f"started again: {A}. Mend that, and apply again to go on\n"
    )
