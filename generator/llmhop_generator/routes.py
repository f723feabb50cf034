"""The routes in a rendered configuration of llmhop."""

import json
from collections.abc import Collection


def route_names(router: str | None) -> frozenset[str]:
    """The models that a configuration routes to; none where there is none or it is damaged."""
    try:
        return frozenset(json.loads(router or "{}").get("models") or {})
    except (ValueError, AttributeError):
        return frozenset()


def without_routes(router: str, hidden: Collection[str]) -> str:
    """A configuration without some of its routes, written as it was."""
    if not hidden:
        return router
    read = json.loads(router)
    read["models"] = {k: v for k, v in read["models"].items() if k not in hidden}
    return as_text(read)


def as_text(settings: object) -> str:
    """Write a configuration of llmhop."""
    return json.dumps(settings, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
