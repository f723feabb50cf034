"""Everything that a configuration becomes, as text: no effects here."""

from dataclasses import dataclass

from llmhop_generator.contract.options import Config, Vllm
from llmhop_generator.render.host_tree import host_files, subordinate_ids
from llmhop_generator.render.model_unit import quadlet_files
from llmhop_generator.router.config import router_config


@dataclass(frozen=True)
class Rendered:
    """The texts of one configuration.

    `quadlets`: file names and Quadlet sources, in the order in which the models start.
    `router`: llmhop's configuration, or None where llmhop is not enabled.
    """

    quadlets: dict[str, str]
    router: str | None


def render(config: Config) -> Rendered:
    """Render what `apply` keeps on a host."""
    vllm = config.vllm
    return Rendered(
        quadlets=quadlet_files(vllm) if isinstance(vllm, Vllm) else {},
        router=router_config(config),
    )


def render_tree(config: Config, llmhop: str) -> dict[str, str]:
    """Render all there is, by path below the output directory.

    `host/` holds what a host needs that is not NixOS; `llmhop` is the router's command there.
    """
    rendered = render(config)
    tree = {f"quadlet/{name}": text for name, text in rendered.quadlets.items()}
    if rendered.router is not None:
        tree["llmhop.json"] = rendered.router
    tree |= {f"host/{path}": text for path, text in host_files(config, llmhop).items()}
    tree |= {f"host/{name}": f"{line}\n" for name, line in subordinate_ids(config).items()}
    return tree
