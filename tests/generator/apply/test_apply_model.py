"""`apply` on a simulated host, in every order of changes, faults, kills and restarts.

A stateful model (hypothesis): the planner, the executor and all that reads the host are real,
systemd, Podman and llmhop are simulated. A run of `apply` may be killed, told to end or met by a
fault at any of its effects; between runs models crash, are stopped, mended and restarted by hand,
units are edited, removed, put back and masked by hand, and the host reboots. After each event no
route leads to where its model does not listen, and after each run that ended the host is what was
asked for, as far as models come up.

LLMHOP_TEST_MODEL_SECONDS makes it run for so long in place of a fixed number of runs.
"""

import json
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from llmhop_generator.apply.fast_path import is_up_to_date, remember
from llmhop_generator.apply.run import Applied, apply, plan_for
from llmhop_generator.contract.options import Config
from llmhop_generator.errors import GeneratorError
from llmhop_generator.host import files
from llmhop_generator.parse.load import parse_config
from llmhop_generator.planning.plan_text import lines
from llmhop_generator.render.tree import render
from llmhop_generator.status.report import status
from llmhop_generator.unit_names import model_of, service_of

from tests.generator.support.simulated_host import REFUSED, UID, SimulatedHost
from tests.generator.support.simulated_unit import Unit, port_in
from tests.generator.support.simulation import Killed, Mishap, in_place
from tests.generator.support.unit_order import after_in, has_cycle, without_order
from tests.stateful import run_model

PORTS = (18001, 18002, 18003, 18004, 18005)
NAMES = ("a", "b", "c")
SERVICES = [f"vllm-{name}.service" for name in NAMES]
EFFECTS = ["stop", "swap", "daemon-reload", "write", "reload-or-restart", "start", "sleep"]
EFFECTS += ["stop", "swap", "remove", "reload-or-restart", "stage", "pull"]
DEVICES: tuple[list[str], ...] = ([], ["/dev/gpu0"], ["/dev/gpu1"])


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """Up to three models on five ports, which may share devices, be broken or disabled."""
    ports = draw(st.permutations(PORTS))
    models: dict[str, Any] = {}
    for name, port in zip(NAMES, ports, strict=False):
        how = draw(st.sampled_from([*["there"] * 4, "disabled", "absent"]))
        if how == "absent":
            continue
        models[name] = {
            "model": "m",
            "port": port,
            "enable": how == "there",
            "devices": draw(st.sampled_from(DEVICES)),
            "settings": draw(st.sampled_from([{}, {}, {"seed": 1}, {"broken": "x"}])),
            "tag": draw(st.sampled_from(["v1", "v1", "v1", "v2"])),
        }
    return contract(
        models,
        enable=draw(st.sampled_from([True, True, True, True, False])),
        ordered=draw(st.sampled_from([True, True, False])),
        far=draw(st.sampled_from([True, False])),
        settings=draw(
            st.sampled_from(
                [{}, {}, {"workers": 2}, {"maxBodyBytes": 5}, {"maxHeaderBytes": REFUSED}]
            )
        ),
    )


def contract(
    models: dict[str, Any], *, enable: bool, ordered: bool, far: bool, settings: dict[str, Any]
) -> dict[str, Any]:
    elsewhere = {"models": {"far": {"url": "http://192.0.2.1:1"}}} if far else {}
    vllm = {
        "enable": True,
        "uid": UID,
        "subUidStart": 300000,
        "tag": "v1",
        "openFilesLimit": 64,
        "startupOrdering": ordered,
        "models": models,
    }
    serves = any(model["enable"] for model in models.values())
    return {
        "version": 1,
        "llmhop": {"enable": enable and (far or serves), "settings": {**settings, **elsewhere}},
        "vllm": vllm if serves else {"enable": False},
    }


@cache
def parsed(text: str) -> Config:
    return parse_config(text.encode(), "config.json")


def sources(config: dict[str, Any]) -> dict[str, str]:
    """The units of a configuration, by service."""
    rendered = render(parsed(json.dumps(config)))
    return {service_of(name): text for name, text in rendered.quadlets.items()}


def is_by(unit: Unit, source: str) -> bool:
    """Whether a unit was started by a source, as far as anybody can know."""
    return not unit.unsure and without_order(unit.by or "") == without_order(source)


class Applying(RuleBasedStateMachine):
    """A host to which configurations are applied."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.host = SimulatedHost(Path(self.stack.enter_context(tempfile.TemporaryDirectory())))
        self.stack.enter_context(in_place(self.host))
        self.config = contract({}, enable=False, ordered=False, far=False, settings={})
        self.wanted: dict[str, str] = {}
        self.unchanged: set[str] = set()
        self.exposed = False
        self.before_edits: dict[str, str] = {}
        self.applied: dict[str, Any] | None = None
        # Whether what is kept for `status` is of that configuration, and not of one that a run
        # began with and changed nothing for.
        self.noted = True

    def teardown(self) -> None:
        self.stack.close()

    @initialize(says_why=st.booleans())
    def begin(self, says_why: bool) -> None:
        self.host.says_why = says_why

    # What people do.

    @rule(
        config=configurations() | st.none(),
        wait=st.sampled_from([True, True, False]),
        kind=st.sampled_from(["nothing", "kill", "kill", "end", "fail a stop", "crash", "restart"]),
        before=st.sampled_from(EFFECTS),
        number=st.sampled_from([1, 1, 2, 3]),
        service=st.sampled_from(SERVICES),
    )
    def run(
        self,
        config: dict[str, Any] | None,
        wait: bool,
        kind: str,
        before: str,
        number: int,
        service: str,
    ) -> None:
        """Apply a configuration, or the same one again."""
        self.config = config or self.config
        self.wanted = sources(self.config)
        self.unchanged = self.as_wanted()
        mishap = Mishap(self.host, kind, before, number, service)
        seen = self.seen()
        self.host.interrupt, self.host.stopped = mishap, self.may_stop
        try:
            done = self.apply(wait=wait)
        except Killed:
            self.applied = None
            # Where no route could be hidden, a kill may come between a unit and its route.
            self.exposed = not self.host.routes().keys() & self.staying()
            return
        except (GeneratorError, SystemExit):
            done = None
        finally:
            self.host.interrupt = self.host.stopped = lambda _: None
            self.host.stops_fail = False
        if done is None and self.seen() == seen:
            self.noted = False
            return
        self.exposed = False
        if done is not None and not done.failed:
            self.before_edits.clear()
        refused = self.config["llmhop"]["settings"].get("maxHeaderBytes") == REFUSED
        self.applied = None if refused else self.config
        self.noted = True
        self.is_routed()
        if done is not None:
            self.is_brought_about(done, wait=wait, disturbed=mishap.happened)

    def apply(self, *, wait: bool) -> Applied | None:
        """Do as the command does; None where there was nothing to do."""
        data = json.dumps(self.config).encode()
        files.discard_unfinished(self.host.router_config.parent, "*")
        if is_up_to_date(data):
            return Applied(None, (), ())  # type: ignore[arg-type]
        done = apply(parsed(data.decode()), note, lambda _: None, wait=wait)
        if wait and not done.failed:
            remember(data, done.wanted)
        return done

    @rule(
        service=st.sampled_from(SERVICES),
        what=st.sampled_from(["restart", "restart", "stop", "crash", "ail", "mend"]),
    )
    def touch(self, service: str, what: str) -> None:
        """Something befalls a model, or somebody lays hands on it."""
        unit = self.host.unit(service)
        match what:
            case "restart" if unit.loaded is not None:
                self.host.restart(service)
            case "stop":
                self.host.stop(service)
            case "crash" if unit.up:
                self.host.crash(service)
            case "ail":
                self.host.ailing.add(service)
            case "mend":
                self.host.ailing.discard(service)

    @rule(
        service=st.sampled_from(SERVICES),
        text=st.sampled_from(["edited", "touched", "removed", "as it was"]),
        then=st.sampled_from(["nothing", "reload", "restart", "restart"]),
    )
    def edit(self, service: str, text: str, then: str) -> None:
        """Somebody edits a unit by hand, has the manager read it, and restarts the model."""
        there, before = self.host.on_disk().get(service), self.before_edits.get(service)
        if text == "as it was" and before is not None:
            others = {s: t for s, t in self.host.on_disk().items() if s != service}
            order = {s: after_in(t) for s, t in {**others, service: before}.items()}
            # Meanwhile another model may have got the port, or its place in the order of starts:
            # that is nobody's unit any more.
            if port_in(before) not in map(port_in, others.values()) and not has_cycle(order):
                self.host.edit(service, before)
        elif there is not None:
            self.before_edits.setdefault(service, there)
            edited = there.replace("[Container]\n", "[Container]\nEnvironment=BY_HAND=1\n")
            self.host.edit(service, {"edited": edited, "touched": there}.get(text))
        if then != "nothing":
            self.host.reload()
        if then == "restart" and self.host.unit(service).loaded is not None:
            self.host.restart(service)

    @rule(service=st.sampled_from(SERVICES), masked=st.sampled_from([True, False, False, False]))
    def mask(self, service: str, masked: bool) -> None:
        """Somebody masks the unit of a model, or has it as it was."""
        self.host.unit(service).masked = masked
        self.host.reload()

    @rule(
        what=st.sampled_from(
            ["a step", "time", "a reboot", "its manager stops", "pulls fail", "pulls work"]
        )
    )
    def meanwhile(self, what: str) -> None:
        """Let something happen to the host."""
        match what:
            case "a step":
                self.host.tick()
            case "time":
                self.host.settle()
            case "a reboot":
                self.host.reboot()
                self.is_routed()
            case "its manager stops":
                self.host.stop_manager()
            case "pulls fail":
                self.host.pulls_fail = True
            case "pulls work":
                self.host.pulls_fail = False

    @rule()
    def look(self) -> None:
        """The status says at which port each model listens, and who runs by another unit."""
        wanted = {} if self.applied is None else sources(self.applied)
        models, on_disk = status().models, self.host.on_disk()
        assert {s for s, unit in self.host.units.items() if unit.up} <= {m.unit for m in models}
        for model in models:
            unit = self.host.unit(model.unit)
            is_wanted = model.unit in wanted and self.noted and not self.host.down
            as_wanted = is_wanted and is_by(unit, wanted[model.unit])
            if unit.up:
                assert model.port == unit.port
            if is_wanted:
                assert model.earlier_unit is (unit.up and not as_wanted)
                there = on_disk.get(model.unit, "")
                differs = without_order(there) != without_order(wanted[model.unit])
                assert model.edited_unit is (differs and not model.earlier_unit)

    # What holds.

    def seen(self) -> Any:
        return self.host.on_disk(), self.host.router, self.host.orders

    def may_stop(self, service: str) -> None:
        """A model stops only where it does not run as it should, and without a route."""
        model, routes = model_of(service), self.host.routes().keys()
        assert service not in self.unchanged
        if service not in self.wanted or routes & self.staying():
            assert model not in routes

    def staying(self) -> set[str]:
        """The models that no run has to touch, here and elsewhere."""
        return {*map(model_of, self.unchanged), "far"}

    def as_wanted(self) -> set[str]:
        """The services that are active, and run by their wanted unit."""
        return {
            service
            for service, source in self.wanted.items()
            if self.host.unit(service).state == "active" and is_by(self.host.unit(service), source)
        }

    def is_routed(self) -> None:
        """Each model of the configuration that was applied has its route, and no other one has."""
        if self.applied is None:
            return
        if not self.applied["llmhop"]["enable"]:
            assert self.host.router is None
            return
        settings = self.applied["llmhop"]["settings"]
        assert self.host.router is not None
        assert self.host.router.get("workers") == settings.get("workers")
        far = settings.get("models", {}).keys()
        assert self.host.routes().keys() == far | {*map(model_of, sources(self.applied))}

    def is_brought_about(self, done: Applied, *, wait: bool, disturbed: bool) -> None:
        """The host is as the configuration says, but for what could not be."""
        if not disturbed:
            left = list(self.host.root.rglob(".*.unfinish"))
            assert not left, left
        units = self.host.units
        for service, unit in units.items():
            if service not in self.wanted:
                assert not unit.up and service not in self.host.on_disk()
        if disturbed:
            return
        if not wait:
            self.host.settle()
            failed = {s for s, unit in units.items() if unit.state == "failed"}
            done = Applied(done.wanted, tuple(sorted(failed)), ())
        for service, source in self.wanted.items():
            unit = units[service]
            if service in done.failed:
                assert unit.state == "failed" or self.host.says_why
                assert self.host.is_ill(service)
                continue
            assert unit.state == "active"
            if service in done.left:
                assert without_order(unit.by or "") != without_order(source)
            else:
                assert without_order(unit.by or "") == without_order(source)
        if not done.failed:
            assert not done.left
            text = json.dumps(self.config)
            states = {s: (u.state, u.masked, u.loaded is None) for s, u in units.items()}
            assert lines(plan_for(parsed(text))) == [], states
            assert is_up_to_date(text.encode()) or not wait

    @invariant()
    def routes_lead_to_where_models_listen(self) -> None:
        routes = self.host.routes()
        for service, unit in self.host.units.items():
            if unit.up and model_of(service) in routes and not self.exposed:
                assert routes[model_of(service)] == unit.port, service

    @invariant()
    def units_can_be_started_at_boot(self) -> None:
        sources = self.host.on_disk()
        assert not has_cycle({service: after_in(text) for service, text in sources.items()})
        ports = [port_in(text) for text in sources.values()]
        assert len(ports) == len(set(ports))

    @invariant()
    def a_restart_is_by_the_unit_that_runs(self) -> None:
        for service, unit in self.host.units.items():
            if unit.up and unit.loaded is not None and service not in self.before_edits:
                assert without_order(unit.loaded) == without_order(unit.by or "")

    @invariant()
    def no_port_was_wanted_by_two(self) -> None:
        assert not self.host.clashes


def test_every_order_of_events_keeps_the_routes_right() -> None:
    run_model(Applying, runs=200, steps=30)
