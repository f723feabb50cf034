"""One llmhop in front of all hosts: its configuration, made from theirs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from llmhop_generator.errors import Finding, GeneratorError
from llmhop_generator.fleet.addresses import base_urls
from llmhop_generator.fleet.hosts import Host
from llmhop_generator.fleet.report import collisions


def front(hosts: Sequence[Host], urls: Mapping[str, str]) -> dict[str, Any]:
    """Give the settings of an llmhop that has every model that vLLM serves on the hosts.

    A model that several hosts serve has one URL for each. `urls` has the addresses of
    hosts whose configuration does not tell how to reach them.

    Raises:
        GeneratorError: with all that keeps a host from standing behind one llmhop.
    """
    serving = [host for host in hosts if host.models]
    problems = [*_unknown(hosts, urls), *(Finding("hosts", text) for text in collisions(serving))]
    reached: dict[str, str] = {}
    for host in serving:
        found = [urls[host.name]] if host.name in urls else base_urls(host)
        if found:
            reached[host.name] = found[0]
        else:
            problems.append(Finding(host.name, _unreachable(host)))
    problems += _same_address(reached)
    models: dict[str, Any] = {}
    for name in sorted({model.name for host in serving for model in host.models}):
        having = [host for host in serving if name in {m.name for m in host.models}]
        backends = [_url(reached[host.name], name) for host in having if host.name in reached]
        entry = {"urls": backends} if len(backends) > 1 else {"url": "".join(backends)}
        models[name] = entry | _names(name, having)
        tokens = _common_tokens(having)
        if tokens:
            models[name]["headers"] = {"Authorization": f"Bearer {tokens[0]}"}
        elif tokens is not None:
            problems.append(Finding(name, _no_token(having)))
    if not models:
        problems.append(Finding("hosts", "none serves a model; there is nothing to front"))
    if problems:
        raise GeneratorError("no llmhop can stand in front of these hosts", sorted(set(problems)))
    return {"models": models}


def _unknown(hosts: Sequence[Host], urls: Mapping[str, str]) -> Iterator[Finding]:
    names = {host.name for host in hosts}
    for name in urls:
        if name not in names:
            yield Finding(name, "has an --address, but is no host with llmhop; correct its name")


def _unreachable(host: Host) -> str:
    if not host.config.llmhop.enable:
        return "has no llmhop (services.llmhop.enable); enable it"
    return (
        "its llmhop listens where other hosts don't reach it; set "
        f'services.llmhop.settings.listen, for example to ":8080", or give '
        f"--address {host.name}=URL"
    )


def _url(llmhop: str, model: str) -> str:
    """The URL of one model of an llmhop, which needs the name where a path alone tells it."""
    return f"{llmhop.rstrip('/')}/route/{quote(model, safe='')}"


def _same_address(reached: Mapping[str, str]) -> Iterator[Finding]:
    owners: dict[str, str] = {}
    for host, url in reached.items():
        if url in owners:
            yield Finding(host, f"has the address of {owners[url]}, {url}; give each its own")
        owners.setdefault(url, host)


def _names(model: str, hosts: Sequence[Host]) -> dict[str, Any]:
    """Under which other names clients find a model, and whether it is listed."""
    aliases = dict.fromkeys(alias for host in hosts for alias in host.aliases(model))
    found: dict[str, Any] = {"aliases": list(aliases)} if aliases else {}
    if all(host.settings.get("models", {}).get(model, {}).get("unlisted") for host in hosts):
        found["unlisted"] = True
    return found


def _common_tokens(hosts: Sequence[Host]) -> list[str] | None:
    """The references to tokens that each of the hosts takes; None where no host wants one."""
    wanted = [host.auth_tokens for host in hosts if host.wants_token]
    if not wanted:
        return None
    shared = [token for token in wanted[0] if all(token in tokens for tokens in wanted)]
    return [token for token in shared if "${" in token]


def _no_token(hosts: Sequence[Host]) -> str:
    names = ", ".join(host.name for host in hosts if host.wants_token)
    return (
        f"{names} take no token in common that is written as ${{file:NAME}} or ${{env:NAME}}; "
        "add one to each one's services.llmhop.settings.authTokens"
    )
