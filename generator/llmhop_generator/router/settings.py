"""The settings of llmhop as it will get them: the user's, and a route to each model here."""

from collections.abc import Mapping
from typing import Any

from llmhop_generator.contract.json_types import as_object
from llmhop_generator.contract.listen import addresses

ROUTES = ("url", "urls")
"""The keys of a model that say where it runs."""

_ANY_URL = "http://model"
_ANY_MODEL = {"model": {"url": _ANY_URL}}


def merge_models(
    elsewhere: Mapping[str, Any], here: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Lay the models that run here over those of the settings, whose entries may add to them."""
    added = {
        name: {**entry, **here[name]} if isinstance(entry, dict) else entry
        for name, entry in elsewhere.items()
        if name in here
    }
    return {**here, **elsewhere, **added}


def has_route(entry: Any) -> bool:
    """Whether an entry of `models` says where the model runs; null says nothing."""
    return isinstance(entry, dict) and any(entry.get(key) is not None for key in ROUTES)


def settings_to_judge(raw: Any) -> dict[str, Any] | None:
    """Give the settings of a configuration for llmhop to judge, or None where there are none.

    They are taken from the raw JSON, so that what is wrong with them shows beside all else.
    What others are to blame for (models that run here, or that there is none) is right in them,
    and only there where the settings may be at odds with it.
    """
    config = as_object(raw)
    vllm, llmhop = as_object(config.get("vllm")), as_object(config.get("llmhop"))
    served = vllm.get("enable") is True
    settings = as_object(llmhop.get("settings"))
    if not settings or llmhop.get("enable", served) is not True:
        return None
    here, off = _local(vllm)
    elsewhere = {
        name: entry
        for name, entry in as_object(settings.get("models")).items()
        if name not in off or has_route(entry)
    }
    models = merge_models(elsewhere, here) if elsewhere else _ANY_MODEL
    # Where it listens unless they say it, as no setting of llmhop's own can tell.
    listen = {"listen": addresses({})} if _listens_by_default(settings) else {}
    return {**settings, **listen, "models": models}


def _listens_by_default(settings: Mapping[str, Any]) -> bool:
    return all(settings.get(key) is None for key in ("listen", "host", "port"))


def _local(vllm: dict[str, Any]) -> tuple[dict[str, dict[str, str]], set[str]]:
    """The routes to the models that run here, and the names of those that are off."""
    here, off = {}, set()
    for key, value in as_object(vllm.get("models")).items():
        model = as_object(value)
        name = model.get("name", key)
        if not isinstance(name, str) or not name.isascii():
            continue
        if vllm.get("enable") is not True or model.get("enable", True) is not True:
            off.add(name)
        elif name:
            # Which port it has is nothing to llmhop, and may be wrong.
            here[name] = {"url": _ANY_URL}
    return here, off
