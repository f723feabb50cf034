"""The configuration of llmhop: what the user set, and a route to each enabled model."""

from typing import Any

from llmhop_generator.contract import Config, Vllm
from llmhop_generator.listen import addresses
from llmhop_generator.routes import as_text, local_url


def router_config(config: Config) -> str | None:
    """Render llmhop's configuration, or None where llmhop is not enabled."""
    if not config.llmhop.enable:
        return None
    asked = config.llmhop.settings
    settings = asked.model_dump(by_alias=True, exclude_unset=True, exclude={"host", "port"})
    if asked.listen is None:
        # Spelled as every llmhop understands it.
        (settings["listen"],) = addresses(asked.model_dump())
    settings["models"] = _models(config, settings.get("models", {}))
    set_keys = {key: value for key, value in settings.items() if value is not None}
    return as_text(set_keys)


def _models(config: Config, elsewhere: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    here = {}
    if isinstance(config.vllm, Vllm):
        here = {model.name: {"url": local_url(model.port)} for model in config.vllm.enabled_models}
    # An entry without url or urls adds headers to a model that is served here; while that
    # model is disabled it has nothing to add to.
    routed = {n: u for n, u in elsewhere.items() if u.get("url") or u.get("urls")}
    extra = {name: {**elsewhere[name], **here[name]} for name in elsewhere if name in here}
    return {**here, **routed, **extra}
