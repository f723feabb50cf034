"""Switch after switch on a booted host: what did not change keeps its container and its streams.

Each switch says which models it starts anew; every other model has to keep its container
id, and no stream of it may be cut or refused while the switch runs. Of those that it
replaces, one at a time is down, but where each has a device of its own. The switches are
taken in order on one host; after one that failed, or where only some are asked for, a fresh
host is brought to where the next one begins.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from tests.host.cache import Cache
from tests.host.machine import Machine
from tests.host.project import wheels
from tests.host.setup import FOUND_HEALTHY_SOON, Setup, standin_image, write
from tests.host.shared_machine import Share, SharedMachine
from tests.images.load import as_user

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


class Host:
    """The host under test, and what is checked around each switch."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def clock(self) -> float:
        return float(self.machine.succeed("date +%s.%N"))

    def ids(self, user: str = "vllm") -> dict[str, str]:
        """The container of each model that runs, by the model's name."""
        command = as_user(user, "podman", "ps", "--no-trunc", "--format", "{{.Names}} {{.ID}}")
        lines = self.machine.succeed(command).splitlines()
        return {name.removeprefix("vllm-"): id_ for name, id_ in map(str.split, lines)}

    def diff(self) -> list[str]:
        """The steps that `diff` says, as `apply` tells them."""
        code, output = self.machine.execute(f"llmhop-generator diff --json {CONFIG}")
        steps = json.loads(output)["steps"]
        assert code == (4 if steps else 0), (code, output)
        details = [f": {step['detail']}" if step["detail"] else "" for step in steps]
        return [
            f"{step['step']} {step['target']}{detail}"
            for step, detail in zip(steps, details, strict=True)
        ]

    def switch(self, state: State, anew: Iterable[str]) -> set[str]:
        """Take a switch, and see that `diff` and `apply` agree and only `anew` is new.

        Gives the models that were replaced, and not merely started.
        """
        write(self.machine, CONFIG, state.text())
        before, steps = self.ids(), self.diff()
        told = self.machine.succeed(f"llmhop-generator apply {CONFIG}").splitlines()
        assert [line for line in told if line in steps] == steps, (steps, told)
        after = self.ids()
        assert set(after) == state.served(), after
        kept = {name: id_ for name, id_ in after.items() if name not in set(anew)}
        assert kept == {name: before.get(name) for name in kept}, (before, after)
        assert all(after[name] != before.get(name) for name in anew), (before, after)
        assert self.diff() == []
        return set(anew) & before.keys() & after.keys()

    def down(self, model: str) -> tuple[int, int]:
        """When a model stopped serving last, and when it served again."""
        properties = ("ActiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic")
        command = f"systemctl --user -M vllm@.host show -p {' -p '.join(properties)}"
        shown = self.machine.succeed(f"{command} vllm-{model}.service").splitlines()
        found = dict(line.split("=") for line in shown)
        return int(found[properties[0]]), int(found[properties[1]])

    def routes(self) -> set[str]:
        listed = json.loads(self.machine.succeed("curl -fsS http://127.0.0.1:8080/v1/models"))
        return {model["id"] for model in listed["data"]}


STREAMS = "/root/streams"


class Streams:
    """What a client of the host streams all the while, from every model."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def start(self) -> None:
        """Start the client."""
        client = Path(__file__).with_name("stream_client.py")
        self.machine.copy_from_host(str(client), f"{STREAMS}.py")
        command = f"python3 {STREAMS}.py {STREAMS}.log {STREAMS}.stop {' '.join(NAMES)}"
        self.machine.succeed(f"systemd-run --unit streams {command}")
        self.machine.wait_until_succeeds(f"grep -q steady {STREAMS}.log")

    def read(self) -> list[dict[str, Any]]:
        """The streams that ended."""
        lines = self.machine.succeed(f"cat {STREAMS}.log").splitlines()
        return [json.loads(line) for line in lines]

    def during(self, begin: float, end: float, model: str) -> list[dict[str, Any]]:
        """The streams of a model that a time saw, when the last of them has ended."""
        while True:
            own = [s for s in self.read() if s["model"] == model and not s["long"]]
            if own and own[-1]["end"] > end:
                return [s for s in own if s["end"] > begin and s["begin"] < end]
            time.sleep(0.2)

    def stop(self) -> dict[str, Any]:
        """Stop the client; give the long stream."""
        self.machine.succeed(f"touch {STREAMS}.stop")
        self.machine.wait_until_fails("systemctl is-active streams.service", timeout=60)
        [long] = [stream for stream in self.read() if stream["long"]]
        return long


@pytest.fixture(scope="module")
def shared(share: Share, cache: Cache) -> SharedMachine:
    files = {SHARED: "TOKEN=first\n", OWN: "OTHER=0\n"}
    setup = Setup("switches", {"switches": first().text()}, standin_image(cache), files)

    def prepare(machine: Machine) -> None:
        setup.prepare(wheels(cache))(machine)
        machine.succeed("mknod -m 666 /dev/gpu0 c 1 3", "mknod -m 666 /dev/gpu1 c 1 5")
        Streams(machine).start()

    return share("switches", prepare)


class Course:
    """How many switches the host that is up has taken."""

    def __init__(self) -> None:
        self.machine: Machine | None = None
        self.state = first()
        self.taken = 0

    def lead(self, machine: Machine, count: int) -> State:
        """Have a host at the state after so many switches; give that state."""
        if machine is not self.machine or self.taken > count:
            self.machine, self.state, self.taken = machine, first(), 0
        behind = self.taken < count
        for each in SWITCHES[self.taken : count]:
            each.change(self.state, machine)
        if behind:
            write(machine, CONFIG, self.state.text())
            machine.succeed(f"llmhop-generator apply {CONFIG}")
        self.taken = count
        return self.state


@pytest.fixture(scope="module")
def course() -> Course:
    return Course()


@pytest.fixture
def machine(shared: SharedMachine, request: pytest.FixtureRequest) -> Iterator[Machine]:
    yield from shared.lend(request.node)


def test_there_are_many_switches_and_no_two_of_one_name() -> None:
    assert len(SWITCHES) >= 30
    assert len({each.name for each in SWITCHES}) == len(SWITCHES)


@pytest.mark.parametrize("number", range(len(SWITCHES)), ids=[each.name for each in SWITCHES])
def test_a_switch_touches_what_changed_and_cuts_no_other_stream(
    number: int, course: Course, machine: Machine
) -> None:
    each, host = SWITCHES[number], Host(machine)
    state = course.lead(machine, number)
    before = state.served()
    each.change(state, machine)
    course.taken += 1
    begin = host.clock()
    replaced = host.switch(state, each.anew)
    end = host.clock()
    down = [host.down(model) for model in replaced]
    overlap = any(a[0] < b[0] < a[1] for a, b in permutations(down, 2))
    assert overlap == each.together, down
    assert host.routes() == state.served() | set(state.settings.get("models", {}))
    for model in (before & state.served()) - set(each.anew):
        streams = Streams(machine).during(begin, end, model)
        assert streams
        assert [stream for stream in streams if stream["wrong"]] == []


def test_a_stream_that_lasts_through_all_switches_is_whole(
    course: Course, machine: Machine
) -> None:
    course.lead(machine, len(SWITCHES))
    long = Streams(machine).stop()
    assert long["wrong"] is None
    assert long["chunks"] > 0


def test_switched_off_nothing_is_left_running_and_on_again_all_is(
    course: Course, machine: Machine
) -> None:
    state = course.lead(machine, len(SWITCHES))
    everything = state.served()
    state.vllm["enable"] = False
    Host(machine).switch(state, [])
    machine.wait_for_closed_port(8080)
    machine.fail("find /etc/containers/systemd -name '*.container' | grep .")
    del state.vllm["enable"]
    Host(machine).switch(state, everything)


def test_models_go_to_another_user_and_back(course: Course, machine: Machine) -> None:
    host, state = Host(machine), course.lead(machine, len(SWITCHES))
    everything, own = state.served(), dict(state.vllm)
    home = "/var/lib/serving"
    machine.succeed(f"useradd --system --uid 504 --user-group --home {home} serving")
    changed = {"user": "serving", "uid": 504, "subUidStart": 500000, "dataDir": home}
    state.vllm |= {**changed, "cacheDir": "/var/cache/serving"}
    write(machine, CONFIG, state.text())
    machine.succeed(f"llmhop-generator provision {CONFIG}")
    image, archive = "localhost/standin:v0.12.0", f"{home}/image.tar"
    machine.succeed(f"{as_user('vllm', 'podman', 'save', image)} > {archive}")
    machine.succeed(as_user("serving", "podman", "load", "--quiet", "--input", archive))
    machine.succeed(f"llmhop-generator apply {CONFIG}")
    assert host.ids() == {}
    assert set(host.ids("serving")) == everything
    assert host.routes() == everything
    machine.fail("find /etc/containers/systemd/users/503 -name '*.container' | grep .")
    state.vllm = own
    host.switch(state, everything)
    assert host.ids("serving") == {}
