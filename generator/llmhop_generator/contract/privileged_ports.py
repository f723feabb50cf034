"""Ports that not everybody may open: those below net.ipv4.ip_unprivileged_port_start (ip(7))."""

from collections.abc import Iterator

from llmhop_generator.contract.listen import addresses, given_key, ports, streams
from llmhop_generator.contract.options import Llmhop, Vllm
from llmhop_generator.errors import Finding

SYSCTL = "net.ipv4.ip_unprivileged_port_start"
DEFAULT_START = 1024


def model_findings(vllm: Vllm, start: int) -> Iterator[Finding]:
    """Find the ports of enabled models below `start`, the first that their user may open."""
    for key, model in vllm.models.items():
        if model.enable and 0 < model.port < start:
            yield Finding.at(
                ("vllm", "models", key, "port"),
                f"{model.port} is below {start}, where {vllm.user} may not listen; give one from "
                f"{max(start, DEFAULT_START)} on, or set the sysctl {SYSCTL} to {model.port}",
            )


def router_findings(llmhop: Llmhop, start: int) -> Iterator[Finding]:
    """Find the ports that llmhop would open by itself and may not; systemd may open any."""
    settings = llmhop.settings.model_dump()
    if streams(addresses(settings)) is not None:
        return
    for port in sorted({port for port in ports(settings) if 0 < port < start}):
        yield Finding.at(
            ("llmhop", "settings", given_key(settings)),
            f"{port} is below {start}, where llmhop may not listen, and systemd opens no host "
            "names for it; name addresses such as 127.0.0.1, give a port from "
            f"{max(start, DEFAULT_START)} on, or set the sysctl {SYSCTL} to {port}",
        )
