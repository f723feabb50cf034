"""The routes in a rendered configuration of llmhop, and where they lead while models move."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True)
class Routing:
    """Where llmhop finds the models of this host: the port of each, and those that it is not told.

    None is hidden where no other route would be left: llmhop does not run without one.
    """

    ports: Mapping[str, int] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()

    def hide(self, models: Iterable[str]) -> Self:
        """Without the routes of some models."""
        return type(self)(self.ports, self.hidden.union(models))

    def show(self, models: Iterable[str]) -> Self:
        """With the routes of some models."""
        return type(self)(self.ports, self.hidden.difference(models))

    def move(self, ports: Mapping[str, int]) -> Self:
        """With some models at other ports."""
        return type(self)({**self.ports, **ports}, self.hidden)

    def routes(self, router: str) -> frozenset[str]:
        """The models that llmhop is told of, those of other hosts included."""
        names = route_names(router)
        return names - self.hidden or names

    def config(self, router: str) -> str:
        """Give the whole configuration of llmhop the routes as they are now."""
        return _with_routes(router, self.routes(router), self.ports)


def route_names(router: str | None) -> frozenset[str]:
    """The models that a configuration routes to; none where there is none or it is damaged."""
    try:
        return frozenset(json.loads(router or "{}").get("models") or {})
    except (ValueError, AttributeError):
        return frozenset()


def _with_routes(router: str, names: Collection[str], ports: Mapping[str, int]) -> str:
    read = json.loads(router)
    models = {name: entry for name, entry in read["models"].items() if name in names}
    for name, port in ports.items():
        if name in models:
            models[name] = {**models[name], "url": local_url(port)}
    return as_text({**read, "models": models})


ADDRESS_KEYS = frozenset({"host", "listen", "port", "socketMode"})
"""Settings that are systemd's to follow where it opens llmhop's sockets."""

# Of `tls` this is so for whether there is one.
_TAKEN_AT_START = ADDRESS_KEYS | {"tls", "workers"}


def restart_keys(before: str | None, after: str) -> list[str]:
    """The settings that differ, and that llmhop takes only when it starts."""
    try:
        old = json.loads(before or "")
    except ValueError:  # none, or a damaged one
        return []
    new = json.loads(after)
    if bool(old.get("tls")) == bool(new.get("tls")):
        old["tls"] = new.get("tls")
    return sorted(key for key in _TAKEN_AT_START if old.get(key) != new.get(key))


def local_url(port: int) -> str:
    """Where a model on this host is reached."""
    return f"http://127.0.0.1:{port}"


def as_text(settings: object) -> str:
    """Write a configuration of llmhop."""
    return json.dumps(settings, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
