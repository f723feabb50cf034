"""Units that models require, as their user's manager has them."""

from typing import Any

import pytest
from llmhop_generator.host.systemd import UnitState
from llmhop_generator.preflight import units as host_units

from tests.generator.conftest import MINIMAL
from tests.generator.support.contracts import vllm_of

LOADED = ("there.service", "vllm-old.service")
WHERE = "services.llmhop.vllm.models.a.unitConfig"


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What managers say of units; of those that they know nothing of, that they are not found."""
    loads = {**dict.fromkeys(LOADED, "loaded"), "closed.target": "masked"}
    up = {"user@503.service": "active"}

    def states(units: list[str]) -> dict[str, UnitState]:
        text = "LoadState={}\nActiveState={}".format
        return {
            u: UnitState.parse(text(loads.get(u, "not-found"), up.get(u, "inactive")))
            for u in units
        }

    class Manager:
        def __init__(self, _: Any) -> None:
            pass

        def states(self, units: list[str]) -> dict[str, UnitState]:
            return states(units)

    monkeypatch.setattr(host_units, "UserManager", Manager)
    monkeypatch.setattr(host_units, "system_states", states)
    monkeypatch.setattr(host_units, "read_sources", lambda: {503: {"vllm-old.container": ""}})
    return up


def findings(own: dict[str, Any], general: dict[str, Any] | None = None) -> list[str]:
    models = {
        "a": {"model": "m", "port": 18001, "unitConfig": own},
        "off": {"model": "m", "port": 18002, "enable": False, "unitConfig": {"Requires": "x.path"}},
    }
    vllm = {**MINIMAL["vllm"], "models": models, "unitConfig": general or {}}
    found = host_units.requirement_findings(vllm_of({**MINIMAL, "vllm": vllm}))
    return [str(problem) for problem in found]


@pytest.mark.parametrize("key", ["Requires", "Requisite", "BindsTo"])
@pytest.mark.parametrize(
    ("unit", "how"),
    [
        ("nowhere.service", "not there"),
        ("nowhere.container", "not there"),
        ("closed.target", "masked"),
        # A model that is about to be removed.
        ("vllm-old.service", "not there"),
    ],
)
def test_a_unit_that_can_not_be_started_is_told(
    key: str, unit: str, how: str, manager: dict[str, str]
) -> None:
    service = unit.replace(".container", ".service")
    (found,) = findings({key: ["there.service", unit]})
    assert found.startswith(f"{WHERE}.{key}: requires {service}, which is {how} for"), found
    (found,) = findings({}, {key: unit})
    assert found.startswith(f"services.llmhop.vllm.unitConfig.{key}: requires {service}"), found


@pytest.mark.parametrize(
    "keys",
    [
        {"Requires": ["there.service", ""]},
        {"Wants": "nowhere.service", "After": "nowhere.service", "PartOf": "nowhere.target"},
        {"Requires": "dev-nvidia0.device"},
        {"Requires": ["models.network", "%p.service"]},
    ],
    ids=str,
)
def test_what_keeps_no_model_from_starting_is_let_through(
    keys: dict[str, Any], manager: dict[str, str]
) -> None:
    assert findings(keys) == []


def test_a_manager_that_is_down_is_not_asked(manager: dict[str, str]) -> None:
    manager.clear()
    assert findings({"Requires": "nowhere.service"}) == []
