"""How the models on this host are, for people and for programs."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

from llmhop_generator.errors import GeneratorError
from llmhop_generator.layout import ROUTER_UNIT
from llmhop_generator.podman import environment_of
from llmhop_generator.present import read_sources
from llmhop_generator.process import Account, account_of, run
from llmhop_generator.progress import Outcome, outcome
from llmhop_generator.sources import Entry, entries
from llmhop_generator.systemd import UnitState, UserManager, system_states, user_unit_messages


@dataclass(frozen=True)
class ModelStatus:
    """One model. `state` names an `Outcome`, in lower case; `up_s` is in seconds."""

    model: str
    state: str
    up_s: int | None
    restarts: int
    port: int
    image: str
    image_id: str | None
    devices: tuple[str, ...]
    unit: str
    last_error: str | None


@dataclass(frozen=True)
class Status:
    """All models of this host, and the state of llmhop in systemd's words."""

    models: tuple[ModelStatus, ...]
    llmhop: str


def status() -> Status:
    """Ask the managers, Podman and the journal.

    Raises:
        GeneratorError: one of them can't be asked.
    """
    models = [
        m for uid, texts in read_sources().items() if texts for m in _of_user(uid, entries(texts))
    ]
    return Status(tuple(models), system_states([ROUTER_UNIT])[ROUTER_UNIT].active)


def _of_user(uid: int, found: Sequence[Entry]) -> Iterator[ModelStatus]:
    account = account_of(uid)
    states = UserManager(account).states([entry.service for entry in found])
    images = _running_images(account)
    for entry in found:
        state = states[entry.service]
        judged = outcome(state)
        in_trouble = judged in (Outcome.STARTING, Outcome.FAILED)
        yield ModelStatus(
            model=entry.name,
            state=judged.name.lower(),
            up_s=_up(state),
            restarts=state.restarts,
            port=entry.port,
            image=entry.image,
            image_id=images.get(f"vllm-{entry.name}"),
            devices=entry.devices,
            unit=entry.service,
            last_error=_last_line(entry.service) if in_trouble else None,
        )


def _up(state: UnitState) -> int | None:
    if state.active != "active":
        return None
    return max(0, int(time.clock_gettime(time.CLOCK_MONOTONIC) - state.active_since_s))


def _running_images(account: Account) -> dict[str, str]:
    """The image ids of the user's running containers, by name."""
    words = ["podman", "ps", "--format", "json"]
    listed = run(words, env=environment_of(account), account=account)
    containers: list[dict[str, Any]] = json.loads(listed.stdout or "[]")
    return {name: c["ImageID"][:12] for c in containers for name in c["Names"]}


def _last_line(service: str) -> str | None:
    lines = user_unit_messages(service, 1)
    return lines[-1] if lines else None


def journal_of(model: str, *, lines: int, follow: bool) -> list[str]:
    """Give the command that shows the journal of a model, by its name.

    Raises:
        GeneratorError: this host has no such model.
    """
    services = {e.name: e.service for texts in read_sources().values() for e in entries(texts)}
    if model not in services:
        close = get_close_matches(model, services, n=1) or list(services)
        hint = f"; there is {', '.join(close)}" if close else ""
        raise GeneratorError(f"{model!r} is no model of this host{hint}")
    words = ["journalctl", "-n", str(lines), "-o", "short-iso", "--no-hostname"]
    words += ["-f"] if follow else ["--no-pager"]
    return [*words, f"_SYSTEMD_USER_UNIT={services[model]}"]


def as_json(found: Status) -> str:
    """Write a status for programs."""
    return json.dumps(asdict(found), indent=2, ensure_ascii=False)


def as_table(found: Status) -> str:
    """Write a status for people: a line for each model, and the reasons below."""
    head = ("MODEL", "STATE", "UP", "RESTARTS", "PORT", "DEVICES", "IMAGE")
    rows = [head, *(_row(model) for model in found.models)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines += [f"{m.model}: {m.last_error}" for m in found.models if m.last_error]
    return "\n".join([*lines, f"llmhop is {found.llmhop}"])


def _row(model: ModelStatus) -> tuple[str, ...]:
    return (
        model.model,
        model.state,
        "-" if model.up_s is None else _duration(model.up_s),
        str(model.restarts),
        str(model.port),
        ",".join(model.devices) or "-",
        model.image,
    )


def _duration(seconds: int) -> str:
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days}d{hours % 24}h"
    if hours:
        return f"{hours}h{minutes % 60}m"
    return f"{minutes}m{seconds % 60}s" if minutes else f"{seconds}s"
