"""Giving llmhop a configuration, by a manager whose restarts and reloads may fail."""

import os
from pathlib import Path

import pytest
from llmhop.process.service import REFUSED
from llmhop_generator.errors import GeneratorError
from llmhop_generator.host.process import Finished
from llmhop_generator.host.systemd import UnitState
from llmhop_generator.layout import ROUTER_SOCKET, ROUTER_UNIT
from llmhop_generator.router import credentials as router_credentials
from llmhop_generator.state import router_service
from llmhop_generator.state.router_service import give_config

BEFORE, AFTER = '{"listen": "127.0.0.1:8080"}', '{"listen": "127.0.0.1:9000"}'


class Manager:
    """A system manager whose restarts fail with a result of the socket, as often as is told."""

    def __init__(self, failures: int, result: str) -> None:
        self.failures, self.result = failures, result
        self.restarts = 0
        self.has_failed = False

    def system(self, *words: str, check: bool = True) -> Finished:
        if "restart" in words:
            assert ROUTER_SOCKET in words
            self.restarts += 1
            self.has_failed = self.restarts <= self.failures
        return Finished(int(self.has_failed), "", "")

    def states(self, units: list[str]) -> dict[str, UnitState]:
        result = self.result if self.has_failed else "success"
        text = f"LoadState=loaded\nActiveState=active\nResult={result}"
        return {unit: UnitState.parse(text) for unit in units}


class Reloading:
    """A system manager, and llmhop, which takes what it reads unless `refused` is in it.

    `failures` reloads fail of what ExecReload= runs, also where llmhop itself has taken it.
    """

    def __init__(self, config: Path, failures: int) -> None:
        self.config, self.failures = config, failures
        self.serves_by, self.status = config.read_text(), "serves 1 model"
        self.calls: list[str] = []

    def system(self, *words: str, check: bool = True) -> Finished:
        if not {"reload-or-restart", "restart"} & {*words}:
            return Finished(0, "", "")
        self.calls.append(words[0])
        text = self.config.read_text()
        if "refused" in text:
            self.status = f"{REFUSED}: serves 1 model"
        else:
            self.serves_by, self.status = text, "serves 1 model"
        failed = len(self.calls) <= self.failures
        return Finished(int(failed), "", "")

    def states(self, units: list[str]) -> dict[str, UnitState]:
        parsed = f"ActiveState=active\nResult=success\nStatusText={self.status}"
        return {unit: UnitState.parse(parsed) for unit in units}


def put_in_place(
    manager: Manager | Reloading, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "ROUTER_CONFIG": config,
        "ROUTER_BEFORE": config.parent / "llmhop.before.json",
        "system": manager.system,
        "system_states": manager.states,
        "system_is_stopping": lambda: False,
        "last_messages": lambda *_: "",
        "router_group": os.getgid,
    }.items():
        monkeypatch.setattr(router_service, name, value)


RELOADED = '{"maxBodyBytes": 5}'


@pytest.mark.parametrize(
    ("text", "failures"),
    [
        (RELOADED, 1),  # by the check, where llmhop has taken it
        ('{"authTokens": ["refused"]}', 0),  # by llmhop alone
        ('{"authTokens": ["refused"]}', 1),
    ],
)
def test_llmhop_serves_by_what_is_on_disk_after_a_reload_that_failed(
    text: str, failures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "llmhop.json"
    config.write_text("{}")
    manager = Reloading(config, failures)
    put_in_place(manager, config, monkeypatch)
    with pytest.raises(GeneratorError, match="goes on with the one it has"):
        give_config(text)
    assert config.read_text() == manager.serves_by == "{}"
    assert router_service.router_runs(manager.states(["llmhop.socket", ROUTER_UNIT]))


def test_llmhop_does_not_run_by_a_configuration_that_it_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "llmhop.json"
    config.write_text("{}")
    manager = Reloading(config, 0)
    put_in_place(manager, config, monkeypatch)
    units = ["llmhop.socket", ROUTER_UNIT]
    assert router_service.router_runs(manager.states(units))
    manager.status = f"{REFUSED}: serves 1 model"
    assert not router_service.router_runs(manager.states(units))


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ('{"authTokens": ["${file:given}"]}', "reload-or-restart"),
        ('{"authTokens": ["${file:/run/secrets/any}"]}', "reload-or-restart"),
        ('{"authTokens": ["${file:later}"]}', "restart"),
        ('{"models": {"m": {"headers": {"a": "Bearer ${file:later}"}}}}', "restart"),
        ('{"tls": {"certificate": "given", "key": "later"}}', "restart"),
        ('{"tls": {"certificate": "given", "key": "/etc/key"}}', "reload-or-restart"),
    ],
)
def test_llmhop_is_restarted_for_a_credential_that_it_was_not_started_with(
    text: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, credentials = tmp_path / "llmhop.json", tmp_path / "credentials"
    config.write_text(
        '{"tls": {"certificate": "given", "key": "given"}}' if "tls" in text else "{}"
    )
    credentials.mkdir()
    (credentials / "given").touch()
    manager = Reloading(config, 0)
    put_in_place(manager, config, monkeypatch)
    monkeypatch.setattr(router_credentials, "ROUTER_CREDENTIALS", credentials)
    give_config(text)
    assert manager.calls == [call]


@pytest.mark.parametrize(
    ("failures", "result", "restarts", "taken"),
    [
        (0, "resources", 1, True),
        (1, "resources", 2, True),
        (3, "resources", 4, True),
        (4, "resources", 5, False),  # the fifth is with the configuration before
        (1, "start-limit-hit", 2, False),
    ],
)
def test_a_socket_that_was_opened_too_soon_is_opened_again(
    failures: int,
    result: str,
    restarts: int,
    taken: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manager, config = Manager(failures, result), tmp_path / "llmhop.json"
    config.write_text(BEFORE)
    monkeypatch.setattr("time.sleep", lambda _: None)
    put_in_place(manager, config, monkeypatch)
    if taken:
        give_config(AFTER)
    else:
        with pytest.raises(GeneratorError, match="does not take its new configuration"):
            give_config(AFTER)
    assert manager.restarts == restarts
    assert config.read_text() == (AFTER if taken else BEFORE)
