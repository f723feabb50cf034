"""Giving llmhop a configuration that it takes only with its socket started anew."""

import os
from pathlib import Path

import pytest
from llmhop_generator.errors import GeneratorError
from llmhop_generator.host.process import Finished
from llmhop_generator.host.systemd import UnitState
from llmhop_generator.layout import ROUTER_SOCKET
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
    for name, value in {
        "ROUTER_CONFIG": config,
        "ROUTER_BEFORE": tmp_path / "llmhop.before.json",
        "system": manager.system,
        "system_states": manager.states,
        "system_is_stopping": lambda: False,
        "last_messages": lambda *_: "",
        "router_group": os.getgid,
    }.items():
        monkeypatch.setattr(router_service, name, value)
    if taken:
        give_config(AFTER)
    else:
        with pytest.raises(GeneratorError, match="does not take its new configuration"):
            give_config(AFTER)
    assert manager.restarts == restarts
    assert config.read_text() == (AFTER if taken else BEFORE)
