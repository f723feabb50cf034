"""What keeps the user's manager from starting the models' units as they are written."""

from collections.abc import Iterator

from llmhop_generator.contract.options import Vllm
from llmhop_generator.contract.unit_keys import REQUIRING, service_named, units_named
from llmhop_generator.errors import Finding, Path
from llmhop_generator.host.process import account_of
from llmhop_generator.host.systemd import UnitState, UserManager, system_states
from llmhop_generator.layout import user_manager
from llmhop_generator.render.model_unit import file_name
from llmhop_generator.state.foreign_units import (
    describe_drop_ins,
    describe_hiding_file,
    foreign_drop_ins,
    hiding_files,
    how_to_unmask,
)
from llmhop_generator.state.present import read_sources
from llmhop_generator.state.source_drop_ins import read_source_drop_ins
from llmhop_generator.unit_names import service_of

# Of other types systemd makes units by itself, or Podman does of sources.
_WRITTEN = (".mount", ".path", ".service", ".socket", ".target", ".timer")
# As LoadState= tells (org.freedesktop.systemd1(5)); what is masked is told as that.
_UNUSABLE = ("bad-setting", "error")


def mask_findings(vllm: Vllm) -> Iterator[Finding]:
    """Find the models whose services are masked (systemctl(1)): no unit of ours can start them.

    Raises:
        GeneratorError: the user's manager can't be asked.
    """
    for name, service, state in _units(vllm):
        if unmask := how_to_unmask(vllm.uid, service, state):
            yield Finding.at(
                ("vllm", "models", name),
                f"{service} is masked, so nothing can start it; unmask it by {unmask}, or disable "
                "the model",
            )


def hidden_findings(vllm: Vllm) -> Iterator[Finding]:
    """Find the models whose units files of somebody else hide, or change to what can't start.

    Raises:
        GeneratorError: the user's manager can't be asked.
    """
    of_sources = read_source_drop_ins(vllm.uid)
    units = list(_units(vllm))
    hiding = hiding_files(vllm.uid, {service: state for _, service, state in units})
    for name, service, state in units:
        where = ("vllm", "models", name)
        if path := hiding.get(service):
            yield Finding.at(where, f"{service} is {describe_hiding_file(path)}")
        elif state.load in _UNUSABLE and (paths := foreign_drop_ins(service, state, of_sources)):
            yield Finding.at(
                where,
                f"systemd can't use {service}, which is {describe_drop_ins(service, paths)}; then "
                f"`systemctl --user -M {vllm.user}@.host daemon-reload`",
            )


def requirement_findings(vllm: Vllm) -> Iterator[Finding]:
    """Find the units that models require and that their user's manager can't start.

    Raises:
        GeneratorError: the user's manager can't be asked, or a source can't be read.
    """
    required = _required(vllm)
    if not required or not _is_up(vllm):
        return
    wanted = {service_of(file_name(model)) for model in vllm.enabled_models}
    leaving = {service_of(name) for name in read_sources().get(vllm.uid, {})} - wanted
    states = UserManager(account_of(vllm.uid)).states([*required])
    for unit, path in required.items():
        if unit in leaving or states[unit].load != "loaded":
            how = "masked" if states[unit].is_masked else "not there"
            yield Finding.at(
                path,
                f"requires {unit}, which is {how} for the manager of {vllm.user}, so that nothing "
                "could start the model; name a unit of that manager (one of the system's is "
                "none), or use Wants",
            )


def _units(vllm: Vllm) -> Iterator[tuple[str, str, UnitState]]:
    """Each enabled model by its key, its service, and what its user's manager says of that.

    One that is down has read nothing yet.
    """
    services = {
        name: service_of(file_name(model)) for name, model in vllm.models.items() if model.enable
    }
    states = dict.fromkeys(services.values(), UnitState.parse(""))
    if _is_up(vllm):
        states = UserManager(account_of(vllm.uid)).states([*services.values()])
    yield from ((name, service, states[service]) for name, service in services.items())


def _required(vllm: Vllm) -> dict[str, Path]:
    """The units that enabled models require, and where each is named."""
    found: dict[str, Path] = {}
    for name, model in vllm.models.items():
        if not model.enable:
            continue
        for key, unit in units_named(vllm.unit_config | model.unit_config):
            own = ("vllm", "models", name) if key in model.unit_config else ("vllm",)
            service = service_named(unit)
            if key in REQUIRING and service.endswith(_WRITTEN) and "%" not in service:
                found.setdefault(service, (*own, "unitConfig", key))
    return found


def _is_up(vllm: Vllm) -> bool:
    manager = user_manager(vllm.uid)
    return system_states([manager])[manager].active == "active"
