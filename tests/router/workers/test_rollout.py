"""How a new config reaches every worker, and what is told of that."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import trustme
from llmhop.config.findings import ConfigError
from llmhop.workers.rollout import Outcome, Rollout
from llmhop.workers.worker_process import wait_before_start

from tests.router.conftest import StartRouter
from tests.router.support.endpoints import MODELS, TIMEOUT, Wire, check, wait_until
from tests.router.support.process import Process, Run
from tests.router.support.scrape import Scrape
from tests.router.support.workers import MANY, has_ended, listed, workers

NEW = {"models": {"new": {"url": "http://h"}}}
IMPATIENT = "from llmhop import limits; limits.RELOAD_S = 0.2"


def counted_reloads(process: Process) -> tuple[float, float]:
    """The reloads that went well, and the others."""
    scrape = Scrape(process.port)
    name = "llmhop_config_reloads_total"
    return scrape.value(name, result="success"), scrape.value(name, result="failure")


def test_workers_answer_in_any_order() -> None:
    rollout = Rollout()
    for worker in (1, 2, 3):
        rollout.started(worker)
    assert rollout.outcome(0) is None
    rollout.begin(10)
    assert rollout.to_send() == [1, 2, 3]
    assert rollout.to_send() == []
    rollout.taken(2)
    rollout.ended(1)
    rollout.started(4)
    assert rollout.outcome(5) is None
    assert not rollout.serves(3)
    rollout.taken(3)
    assert rollout.outcome(5) == Outcome((), ())
    assert rollout.outcome(5) is None


def test_a_silent_worker_ends_no_rollout_and_gets_the_latest_once_it_answers() -> None:
    rollout = Rollout()
    rollout.started(1)
    rollout.started(2)
    rollout.begin(10)
    assert rollout.to_send() == [1, 2]
    rollout.taken(1)
    assert rollout.outcome(10) == Outcome((), (2,))
    rollout.begin(20)
    assert rollout.to_send() == [1]
    rollout.taken(1)
    assert rollout.outcome(20) == Outcome((), (2,))
    assert not rollout.taken(2), "that was the one before"
    assert rollout.to_send() == [2]
    assert rollout.taken(2)
    assert rollout.serves(2)


def test_a_worker_that_fails_gets_nothing_more_and_spoils_one_rollout_only() -> None:
    rollout = Rollout()
    rollout.started(1)
    rollout.started(2)
    rollout.begin(10)
    rollout.to_send()
    rollout.taken(1)
    rollout.failed(2)
    assert rollout.outcome(1) == Outcome((2,), ())
    assert not rollout.serves(2)
    rollout.begin(20)
    assert rollout.to_send() == [1]
    rollout.taken(1)
    rollout.ended(2)
    assert rollout.outcome(11) == Outcome((), ())


def test_a_worker_that_fails_and_ends_before_the_others_answer_is_not_forgotten() -> None:
    rollout = Rollout()
    rollout.started(1)
    rollout.started(2)
    rollout.begin(10)
    rollout.to_send()
    rollout.failed(2)
    rollout.ended(2)
    rollout.started(3)
    assert rollout.outcome(1) is None
    rollout.taken(1)
    assert rollout.outcome(1) == Outcome((2,), ())


def test_starts_wait_longer_each_time_and_never_overflow() -> None:
    waits = [wait_before_start(failures) for failures in range(5000)]
    assert waits[:4] == [0, 0.5, 1.5, 3.5]
    assert waits == sorted(waits)
    assert waits[-1] == 30


def test_config_and_secrets_are_read_once_and_reach_every_worker(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("first")
    config: dict[str, Any] = {"models": MODELS, "workers": 3, "authTokens": ["${file:secret}"]}
    process = run(config, CREDENTIALS_DIRECTORY=str(tmp_path))
    secret.write_text("second")
    process.reload()
    secret.unlink()

    def ask_all() -> None:
        for _ in range(MANY):
            with Wire(process.port) as wire:
                head = b"GET /v1/models HTTP/1.1\r\nHost: r\r\nAuthorization: Bearer second\r\n\r\n"
                wire.send(head)
                assert wire.response().status == 200

    ask_all()
    # One that starts later has it too, though the secret is gone.
    victim = workers(process)[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(set(workers(process)) - {victim}) == 3)
    wait_until(lambda: process.notified()["STATUS"].endswith(" with 3 workers"))
    ask_all()
    assert "second" not in process.end()


def test_a_large_config_reaches_every_worker(run: Run) -> None:
    process = run({"models": MODELS, "workers": 2})
    models = {f"model-{n}": {"url": f"http://host-{n}"} for n in range(4000)}
    process.write({"models": models, "workers": 2, "listen": "127.0.0.1:0"})
    assert process.reload().startswith("serves 4000 models on ")
    assert all(listed(process.port).count(b'"model-') == 4000 for _ in range(30))


def test_a_worker_that_hangs_does_not_hold_up_a_reload_and_is_told_of(run: Run) -> None:
    process = run({"models": MODELS, "workers": 3}, before=IMPATIENT)
    hung = workers(process)[1]
    os.kill(hung, signal.SIGSTOP)
    process.write({**NEW, "listen": "127.0.0.1:0", "workers": 3})
    assert process.reload().endswith(" with 2 of 3 workers")
    process.write("{")
    assert process.reload().endswith(" with 2 of 3 workers")
    os.kill(hung, signal.SIGCONT)
    assert process.notified()["STATUS"].endswith(" with 3 workers")
    assert all(b'"new"' in listed(process.port) for _ in range(MANY))
    assert counted_reloads(process) == (0, 2)
    assert process.reload().endswith(" with 3 workers")
    log = process.end()
    assert f"worker {hung} does not answer and serves by the old config until it does" in log
    assert "reload incomplete: serves 1 model on " in log
    assert f"worker {hung} has taken the new config now" in log
    assert "reloaded, serves" not in log


def test_a_worker_that_can_not_take_a_config_is_replaced(run: Run, tmp_path: Path) -> None:
    authority = trustme.CA()

    def renew() -> None:
        issued = authority.issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        issued.private_key_pem.write_to_path(tmp_path / "key.pem")

    renew()
    tls = {"certificate": "cert.pem", "key": "key.pem"}
    config = {"models": MODELS, "workers": 2, "tls": tls}
    process = run(config, CREDENTIALS_DIRECTORY=str(tmp_path))
    poor, other = workers(process)
    resource.prlimit(poor, resource.RLIMIT_NOFILE, (1, 1))  # a certificate needs a descriptor
    renew()
    process.reload()
    wait_until(lambda: has_ended(poor) and len(workers(process)) == 2)
    wait_until(lambda: process.notified()["STATUS"].endswith(" with 2 workers"))
    assert other in workers(process)
    log = process.end()
    assert f"worker {poor} can't take the new config (Too many open files) and stops" in log
    assert "reload incomplete: " in log
    assert "reloaded, serves" not in log
    assert "; another starts in 0 s" in log
    assert f"worker {poor} ended with code " in log


def test_a_worker_that_dies_in_a_reload_does_not_hold_it_up(run: Run) -> None:
    process = run({"models": MODELS, "workers": 2})
    victim = workers(process)[0]
    os.kill(victim, signal.SIGSTOP)
    process.write({**NEW, "listen": "127.0.0.1:0", "workers": 2})
    process.process.send_signal(signal.SIGHUP)
    assert "RELOADING" in process.notified()
    os.kill(victim, signal.SIGKILL)
    assert process.notified()["READY"] == "1"
    wait_until(lambda: process.notified()["STATUS"].endswith(" with 2 workers"))
    assert all(b'"new"' in listed(process.port) for _ in range(MANY))
    assert counted_reloads(process) == (1, 0)


def test_a_reload_that_comes_while_another_is_under_way_comes_after_it(run: Run) -> None:
    process = run({"models": MODELS, "workers": 3})
    hung, *others = workers(process)

    def let_it_see(victim: int) -> None:
        """Once the victim is replaced, the supervisor has done what was asked before."""
        before = workers(process)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: set(workers(process)) - set(before))

    os.kill(hung, signal.SIGSTOP)
    process.write({**NEW, "listen": "127.0.0.1:0", "workers": 3})
    process.process.send_signal(signal.SIGHUP)
    assert "RELOADING" in process.notified()
    let_it_see(others[0])
    two = {"models": {"one": {"url": "http://h"}, "two": {"url": "http://h"}}}
    process.write({**two, "listen": "127.0.0.1:0", "workers": 3})
    for _ in range(3):
        process.process.send_signal(signal.SIGHUP)
    let_it_see(others[1])
    os.kill(hung, signal.SIGCONT)
    assert process.notified()["STATUS"].startswith("serves 1 model ")
    assert process.reloaded().startswith("serves 2 models ")
    assert all(b'"two"' in listed(process.port) for _ in range(MANY))


def test_a_reload_before_all_workers_serve_comes_after_that(run: Run) -> None:
    early = (
        "import signal\n"
        "from llmhop.workers import worker_process\n"
        "fork = worker_process.Starter.fork\n"
        "def early(*given):\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
        "    return fork(*given)\n"
        "worker_process.Starter.fork = early\n"
    )
    process = run({"models": MODELS, "workers": 2}, before=early)
    assert process.reloaded().endswith(" with 2 workers")
    process.stop()
    assert process.process.wait(TIMEOUT) == 0


def test_a_stop_before_all_workers_serve_ends_them(tmp_path: Path, run: Run) -> None:
    early = (
        "import signal\n"
        "from llmhop.workers import worker_process\n"
        "fork = worker_process.Starter.fork\n"
        "def early(*given):\n"
        "    worker = fork(*given)\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    return worker\n"
        "worker_process.Starter.fork = early\n"
    )
    with pytest.raises(AssertionError):  # no READY comes
        run({"models": MODELS, "workers": 3}, before=early)


def test_a_worker_ignores_what_asks_all_processes_for_a_reload(run: Run) -> None:
    process = run({"models": MODELS, "workers": 2})
    before = workers(process)
    process.write({**NEW, "listen": "127.0.0.1:0", "workers": 2})
    for pid in before:
        os.kill(pid, signal.SIGHUP)
    assert all(b'"m"' in listed(process.port) for _ in range(MANY))
    process.reload()
    assert all(b'"new"' in listed(process.port) for _ in range(MANY))
    assert workers(process) == before


def test_a_stop_is_not_lost_among_many_reloads(run: Run) -> None:
    process = run({"models": MODELS, "workers": 2})
    os.kill(process.process.pid, signal.SIGSTOP)
    for _ in range(2000):
        process.process.send_signal(signal.SIGHUP)
        process.process.send_signal(signal.SIGCHLD)
    process.process.send_signal(signal.SIGTERM)
    os.kill(process.process.pid, signal.SIGCONT)
    assert process.process.wait(TIMEOUT) == 0


def test_a_worker_that_ends_by_a_signal_without_a_name_is_replaced(run: Run) -> None:
    process = run({"models": MODELS, "workers": 2})
    number = signal.SIGRTMIN + 3
    victim = workers(process)[0]
    os.kill(victim, number)
    wait_until(lambda: process.notified()["STATUS"].endswith(" with 2 workers"))
    assert f"worker {victim} ended by signal {number:d}; another starts" in process.end()


def test_the_status_says_how_many_workers_serve(run: Run) -> None:
    process = run({"models": MODELS, "workers": 2})
    os.kill(workers(process)[0], signal.SIGKILL)
    assert process.notified()["STATUS"].endswith(" with 1 of 2 workers")
    assert process.notified()["STATUS"].endswith(" with 2 workers")


def test_a_reload_that_fails_on_the_way_leaves_the_server_as_it_was(
    start_router: StartRouter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def files(name: str) -> dict[str, Any]:
        issued = trustme.CA().issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}-cert.pem")
        issued.private_key_pem.write_to_path(tmp_path / f"{name}-key.pem")
        return {"certificate": f"{tmp_path}/{name}-cert.pem", "key": f"{tmp_path}/{name}-key.pem"}

    router = start_router({}, models=MODELS, tls=files("old"))
    new = check({**NEW, "listen": "127.0.0.1:0", "tls": files("new")})
    table, config = router.server.table, router.server.config

    def no_descriptor(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", no_descriptor)
    with pytest.raises(OSError, match="Too many open files"):
        router.thread.call(lambda: router.server.reload(new))
    assert router.server.table is table
    assert router.server.config is config
    assert list(router.server.models.all()) == ["m"]
    # The config file's own check says so as well.
    with pytest.raises(ConfigError, match=r"tls: can't be loaded \(Too many open files\)"):
        check({**NEW, "tls": files("other")})
