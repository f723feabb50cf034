"""The switches that one host takes, in their order, and which models each starts anew."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.host.machine import Machine
from tests.host.setup import FOUND_HEALTHY_SOON, write

NAMES = ("steady", *"abcdefg")
CONFIG = "/etc/llmhop/switches.json"
SHARED, OWN = "/etc/vllm/shared.env", "/etc/vllm/own.env"
Models = dict[str, dict[str, Any]]


@dataclass
class State:
    """A configuration that switches change."""

    models: Models
    vllm: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        vllm = {
            "enable": True,
            "uid": 503,
            "subUidStart": 300000,
            "image": "localhost/standin",
            "tag": "v0.12.0",
            **FOUND_HEALTHY_SOON,
            **self.vllm,
            "models": self.models,
        }
        llmhop = {"enable": vllm["enable"], "settings": self.settings}
        if not vllm["enable"]:
            vllm = {"enable": False}
        return json.dumps({"version": 1, "vllm": vllm, "llmhop": llmhop})

    def served(self) -> set[str]:
        """The names of the models that this configuration serves."""
        if not self.vllm.get("enable", True):
            return set()
        enabled = {k: m for k, m in self.models.items() if m.get("enable", True)}
        return {model.get("name", key) for key, model in enabled.items()}


def first() -> State:
    models = {"steady": {"model": "m/steady", "port": 18000, "tag": "v0.12.0"}}
    models |= {key: {"model": f"m/{key}", "port": 18001 + i} for i, key in enumerate("abc")}
    return State(models)


Change = Callable[[State, Machine], None]


@dataclass(frozen=True)
class Switch:
    """A switch of the matrix; `together` where the models that it replaces go side by side."""

    name: str
    change: Change
    anew: list[str]
    together: bool


SWITCHES: list[Switch] = []


def switch(name: str, anew: str = "", *, together: bool = False) -> Callable[[Change], Change]:
    """Add a switch to the matrix; `anew` names the models that it starts anew."""

    def add(change: Change) -> Change:
        SWITCHES.append(Switch(name, change, anew.split(), together))
        return change

    return add


def simple(name: str, anew: str, path: str, value: Any) -> None:
    """Add a switch that sets, or with None removes, one key of one model."""
    key, leaf = path.split(".")

    def change(state: State, _machine: Machine) -> None:
        if value is None:
            del state.models[key][leaf]
        else:
            state.models[key][leaf] = value

    switch(name, anew)(change)


def whole(name: str, anew: str, key: str, value: Any) -> None:
    """Add a switch that sets one backend-wide option."""
    switch(name, anew)(lambda state, _machine: state.vllm.__setitem__(key, value))


def routing(name: str, key: str, value: Any) -> None:
    """Add a switch that sets one setting of llmhop, which touches no model."""
    switch(name)(lambda state, _machine: state.settings.__setitem__(key, value))


def content(name: str, anew: str, path: str, text: str) -> None:
    """Add a switch that changes a file only."""
    switch(name, anew)(lambda _state, machine: write(machine, path, text))


switch("nothing")(lambda _state, _machine: None)
simple("settings of one model", "a", "a.settings", {"seed": 1})
simple("the same, rolled back", "a", "a.settings", None)
simple("a tag", "b", "b.tag", "v0.11.0")
simple("the same tag, rolled back", "b", "b.tag", None)
simple("a device", "c", "c.devices", ["/dev/null:/dev/gpu0"])
simple("no device any more", "c", "c.devices", None)
simple("a variable", "a", "a.environment", {"A": "1"})
simple("an environment file for one model", "b", "b.environmentFile", SHARED)
simple("the same file for another", "c", "c.environmentFile", SHARED)
content("the content of that file", "b c", SHARED, "TOKEN=second\n")
content("the same content, written again", "", SHARED, "TOKEN=second\n")
simple("no file for one of them", "c", "c.environmentFile", None)
content("the content for the one that is left", "b", SHARED, "TOKEN=third\n")
content("a file that no model reads", "", OWN, "OTHER=1\n")
simple("size of shared memory", "c", "c.shmSize", "64m")
simple("another model to load", "c", "c.model", "m/other")


@switch("ports swapped between two models", "a b", together=True)
def _(state: State, _machine: Machine) -> None:
    a, b = state.models["a"], state.models["b"]
    a["port"], b["port"] = b["port"], a["port"]


simple("a port, and with it the start order", "c", "c.port", 17999)


@switch("a model more", "d")
def _(state: State, _machine: Machine) -> None:
    state.models["d"] = {"model": "m/d", "port": 18004}


@switch("a model renamed by its key", "e")
def _(state: State, _machine: Machine) -> None:
    state.models["e"] = state.models.pop("d")


simple("a model renamed by its name", "f", "e.name", "f")
simple("a model disabled", "", "a.enable", False)
simple("the same model enabled", "a", "a.enable", True)


@switch("a model removed")
def _(state: State, _machine: Machine) -> None:
    del state.models["e"]


@switch("one removed, one added, one changed", "g c")
def _(state: State, _machine: Machine) -> None:
    del state.models["a"]
    state.models["g"] = {"model": "m/g", "port": 18007}
    state.models["c"]["settings"] = {"seed": 3}


@switch("all of that, rolled back", "a c")
def _(state: State, _machine: Machine) -> None:
    state.models["a"] = {"model": "m/a", "port": 18002, "environment": {"A": "1"}}
    del state.models["g"], state.models["c"]["settings"]


@switch("devices of their own for two models", "b c")
def _(state: State, _machine: Machine) -> None:
    state.models["b"]["devices"], state.models["c"]["devices"] = ["/dev/gpu0"], ["/dev/gpu1"]


@switch("a change of models with devices of their own", "b c", together=True)
def _(state: State, _machine: Machine) -> None:
    state.models["b"]["settings"] = state.models["c"]["settings"] = {"seed": 5}


@switch("no devices any more", "b c")
def _(state: State, _machine: Machine) -> None:
    for key in "bc":
        del state.models[key]["devices"], state.models[key]["settings"]


whole("no start order", "", "startupOrdering", False)
simple("a change without a start order", "a", "a.settings", {"seed": 4})
whole("a start order again", "", "startupOrdering", True)
routing("a setting of llmhop", "maxBodyBytes", 1_000_000)
routing("a model that runs elsewhere", "models", {"far": {"url": "http://127.0.0.1:9"}})
routing("no model elsewhere", "models", {})


@switch("a model that was stopped by hand", "b")
def _(_state: State, machine: Machine) -> None:
    # It does not run where this switch only leads to a later one.
    machine.execute("systemctl --user -M vllm@.host stop vllm-b.service")


whole("the tag of all models without their own", "a b c", "tag", "v0.11.0")
whole("the tag of all, rolled back", "a b c", "tag", "v0.12.0")
