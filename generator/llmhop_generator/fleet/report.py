"""A report over all hosts of a flake: what runs where, and what collides."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from llmhop_generator.contract.options import Model
from llmhop_generator.fleet.addresses import base_urls
from llmhop_generator.fleet.hosts import Failed, Host, Result, Without, filter_by_type
from llmhop_generator.render.model_unit import image

_Users = dict[str, dict[str, list[str]]]
"""By a name what it stands for, and the hosts on which it does."""

_HEAD = ("HOST", "MODEL", "PORT", "WEIGHTS", "IMAGE", "DEVICES")


def as_rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Write the table: its head, and a row for each model of each host."""
    return [_HEAD, *(row for host in filter_by_type(results, Host) for row in _rows(host))]


def sections(results: Sequence[Result]) -> list[str]:
    """Write what stands below the table, a text of some lines for each subject."""
    hosts = filter_by_type(results, Host)
    written = [
        _section("llmhop", (f"{h.name}: {', '.join(base_urls(h)) or _hidden(h)}" for h in hosts)),
        _section("served by several hosts", _replicas(hosts)),
        _section("collisions", collisions(hosts)),
        _section("without llmhop", (result.name for result in filter_by_type(results, Without))),
        _section("failed", (f"{r.name}: {r.cause}" for r in filter_by_type(results, Failed))),
    ]
    return [section for section in written if section]


def collisions(hosts: Sequence[Host]) -> Iterator[str]:
    """Say what can't be told apart by those who use several of the hosts."""
    weights: _Users = defaultdict(lambda: defaultdict(list))
    names: _Users = defaultdict(lambda: defaultdict(list))
    llmhops: dict[str, list[str]] = defaultdict(list)
    for host in hosts:
        for model in host.models:
            weights[model.name][weights_of(host, model)].append(host.name)
            for name in (model.name, *host.aliases(model.name)):
                names[name][model.name].append(host.name)
        for url in base_urls(host):
            llmhops[url].append(host.name)
    for name, users in weights.items():
        if len(users) > 1:
            yield f"the model {name} has different weights: {_by(users)}"
    for name, users in names.items():
        if len(users) > 1:
            yield f"the name {name} stands for different models: {_by(users)}"
    for url, on in llmhops.items():
        if len(on) > 1:
            yield f"{url} is the llmhop of {' and of '.join(on)}"


def _by(users: dict[str, list[str]]) -> str:
    return "; ".join(f"{what} on {', '.join(on)}" for what, on in users.items())


def weights_of(host: Host, model: Model) -> str:
    """Name the weights that a model serves: the repository or path, and the revision."""
    settings = {**(host.vllm.model_settings if host.vllm else {}), **model.settings}
    revision = settings.get("revision")
    return model.model if revision is None else f"{model.model}@{revision}"


def _rows(host: Host) -> Iterator[tuple[str, ...]]:
    for model in host.models:
        built = image(host.vllm, model) if host.vllm else ""
        devices = " ".join(model.devices) or "CPU"
        yield host.name, model.name, str(model.port), weights_of(host, model), built, devices


def _replicas(hosts: Sequence[Host]) -> Iterator[str]:
    served = defaultdict(list)
    for host in hosts:
        for model in host.models:
            served[model.name].append(host.name)
    for name, names in sorted(served.items()):
        if len(names) > 1:
            yield f"{name}: {', '.join(names)}"


def _hidden(host: Host) -> str:
    return "on the host itself only" if host.config.llmhop.enable else "off"


def _section(title: str, lines: Iterator[str]) -> str:
    found = [f"  {line}" for line in lines]
    return "\n".join([f"{title}:", *found]) if found else ""
