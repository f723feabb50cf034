"""The configuration of llmhop: what the user set, and a route to each enabled model."""

from typing import Any

from llmhop_generator.contract.listen import addresses
from llmhop_generator.contract.options import Config, Vllm
from llmhop_generator.router.routes import as_text, local_url
from llmhop_generator.router.settings import has_route, merge_models


def router_config(config: Config) -> str | None:
    """Render llmhop's configuration, or None where llmhop is not enabled."""
    if not config.llmhop.enable:
        return None
    asked = config.llmhop.settings
    settings = asked.model_dump(by_alias=True, exclude_unset=True, exclude={"host", "port"})
    if asked.listen is None:
        # Spelled as every llmhop understands it.
        (settings["listen"],) = addresses(asked.model_dump())
    settings["models"] = _models(config, settings.get("models") or {})
    set_keys = {key: value for key, value in settings.items() if value is not None}
    return as_text(set_keys)


def _models(config: Config, elsewhere: dict[str, Any]) -> dict[str, Any]:
    here = {}
    if isinstance(config.vllm, Vllm):
        here = {model.name: {"url": local_url(model.port)} for model in config.vllm.enabled_models}
    # An entry without a route adds to a model that runs here; while that one is off, it has
    # nothing to add to.
    kept = {name: e for name, e in elsewhere.items() if name in here or has_route(e)}
    return merge_models(kept, here)
