"""The routes in a rendered configuration of llmhop."""

import json
from collections.abc import Collection, Mapping


def route_names(router: str | None) -> frozenset[str]:
    """The models that a configuration routes to; none where there is none or it is damaged."""
    try:
        return frozenset(json.loads(router or "{}").get("models") or {})
    except (ValueError, AttributeError):
        return frozenset()


def with_routes(router: str, hidden: Collection[str], ports: Mapping[str, int]) -> str:
    """A configuration without some of its routes, and others to the port that is named."""
    if not hidden and not ports:
        return router
    read = json.loads(router)
    models = {name: entry for name, entry in read["models"].items() if name not in hidden}
    for name, port in ports.items():
        if name in models:
            models[name] = {**models[name], "url": local_url(port)}
    return as_text({**read, "models": models})


def local_url(port: int) -> str:
    """Where a model on this host is reached."""
    return f"http://127.0.0.1:{port}"


def as_text(settings: object) -> str:
    """Write a configuration of llmhop."""
    return json.dumps(settings, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
