"""Switch after switch on a booted host: what did not change keeps its container and its streams.

Each switch says which models it starts anew; every other model has to keep its container
id, and no stream of it may be cut or refused while the switch runs. Of those that it
replaces, one at a time is down, but where each has a device of its own. The switches are
taken in order on one host; after one that failed, or where only some are asked for, a fresh
host is brought to where the next one begins.
"""

import json
import time
from collections.abc import Iterable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from tests.host.cache import Cache
from tests.host.machine import Machine
from tests.host.project import wheels
from tests.host.setup import Setup, standin_image, write
from tests.host.shared_machine import Share, SharedMachine
from tests.host.switches import CONFIG, NAMES, OWN, SHARED, SWITCHES, State, first
from tests.images.load import as_user


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
