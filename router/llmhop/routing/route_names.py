"""By which names a route is found: those of models, their aliases, and patterns of aliases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmhop.routing.decision import Route

WILDCARD: Final = "*"


class RouteNames:
    """Routes by name. Where several patterns match, the one with the most other characters counts.

    A name that is no pattern comes first, as written.
    """

    __slots__ = ("_exact", "_patterns")

    def __init__(self, models: Mapping[str, Route], aliases: Mapping[str, Route]) -> None:
        """`aliases` may have patterns among them, such as `claude-*`."""
        self._exact = {**{a: r for a, r in aliases.items() if WILDCARD not in a}, **models}
        patterns = [alias for alias in aliases if WILDCARD in alias and alias not in models]
        patterns.sort(key=lambda pattern: (pattern.count(WILDCARD) - len(pattern), pattern))
        self._patterns = [(pattern.split(WILDCARD), aliases[pattern]) for pattern in patterns]

    def find(self, name: str) -> Route | None:
        """Return the route of a name, or None."""
        route = self._exact.get(name)
        if route is None:
            for parts, found in self._patterns:
                if _matches(name, parts):
                    return found
        return route


def _matches(name: str, parts: list[str]) -> bool:
    """Whether a name has the parts between wildcards, in order; in time that grows with it."""
    first, *middle, last = parts
    end = len(name) - len(last)
    if not (name.startswith(first) and name.endswith(last)):
        return False
    position = len(first)
    for part in middle:
        found = name.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return position <= end
