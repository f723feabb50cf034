"""Has Podman and systemd read the units before anything is changed.

Both only log what they can't use: Podman leaves the unit out, systemd the line.
"""

import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from llmhop_generator.contract.options import Config, Llmhop, Vllm
from llmhop_generator.errors import Finding, GeneratorError
from llmhop_generator.host.process import run
from llmhop_generator.layout import ROUTER_SOCKET
from llmhop_generator.render.model_unit import added_option, naming_options
from llmhop_generator.render.router_units import router_socket
from llmhop_generator.unit_names import service_of

_log = logging.getLogger(__name__)

_QUADLET = ("/usr/libexec/podman/quadlet", "/usr/lib/podman/quadlet")
_NOT_FOUND = re.compile(r"requested Quadlet (?:unit|source) (\S+) was not found")
_SERVICE = re.compile(r"^---(.+)---$", re.MULTILINE)
# What systemd says of a key that it still takes.
_ADVICE = re.compile(r"obsolete|deprecated|please (use|update)", re.IGNORECASE)


def verify_units(config: Config, sources: Mapping[str, str]) -> None:
    """See that Podman and systemd take the units of models, and systemd llmhop's socket.

    Raises:
        GeneratorError: with what they would not take, or one of them can't be asked.
    """
    found = unit_findings(config.vllm, sources) if isinstance(config.vllm, Vllm) else []
    if config.llmhop.enable:
        found += router_socket_findings(config.llmhop)
    if found:
        raise GeneratorError("Podman and systemd would not take all that is set", found)


def unit_findings(vllm: Vllm, sources: Mapping[str, str]) -> list[Finding]:
    """Find the sources of which Podman makes no service, and the deployer's keys without effect.

    Raises:
        GeneratorError: Podman or systemd can't be asked.
    """
    if not sources:
        return []
    with tempfile.TemporaryDirectory(prefix="llmhop-units-") as directory:
        for name, text in sources.items():
            (Path(directory) / name).write_text(text, encoding="utf-8")
        made = run(
            [_quadlet_command(), "-dryrun", "-user"],
            env={"QUADLET_UNIT_DIRS": directory},
            check=False,
        )
    _, *parts = _SERVICE.split(made.stdout)
    services = dict(zip(parts[::2], parts[1::2], strict=True))
    missing = [name for name in sources if service_of(name) not in services]
    refused = {name: set(_refused_by_podman(vllm, name, made.stderr)) for name in missing}
    problems = {finding for found in refused.values() for finding in found}
    if _adds_to_systemd(vllm):
        of = {service_of(name): name for name in sources}
        problems |= set(_ignored_by_systemd(vllm, of, services))
    unexplained = [name for name, found in refused.items() if not found]
    if unexplained:
        what = f"makes no service of {', '.join(unexplained)}: {_generator_errors(made.stderr)}"
        problems.add(Finding("Podman's generator", what))
    return sorted(problems)


def _quadlet_command() -> str:
    """Podman's Quadlet program: `$LLMHOP_QUADLET`, else where distributions put it."""
    named = os.environ.get("LLMHOP_QUADLET")
    for path in (named,) if named else _QUADLET:
        if Path(path).is_file():
            return path
    looked = named or " or ".join(_QUADLET)
    raise GeneratorError(f"Podman's Quadlet program is not at {looked}; set LLMHOP_QUADLET to it")


def _generator_errors(text: str) -> str:
    """What Podman's generator says, without the names of files that it could read."""
    return "; ".join(line for line in text.strip().splitlines() if "Loading source" not in line)


def _refused_by_podman(vllm: Vllm, name: str, text: str) -> Iterator[Finding]:
    """The deployers' keys that Podman complains of, of one source.

    A line of it names the file, and the key or a Quadlet unit that a key names.
    """
    for line in text.splitlines():
        if f'"{name}"' not in line:
            continue
        if unit := _NOT_FOUND.search(line):
            for where in naming_options(vllm, name, unit[1]):
                yield Finding(
                    where,
                    f"names {unit[1]}, a Quadlet unit, of which llmhop's models have none; name "
                    "what Podman has by its own name, such as one of `podman network ls`",
                )
        for key in re.findall(r"[A-Za-z0-9-]+", line):
            if option := added_option(vllm, name, key):
                said = line.partition(f'"{name}": ')[2].partition(" in /")[0]
                what = f"is refused by Podman ({said}); see podman-systemd.unit(5)"
                yield Finding(option, what)


def _adds_to_systemd(vllm: Vllm) -> bool:
    own = [vllm.unit_config, vllm.service_config]
    return any(own) or any(m.unit_config or m.service_config for m in vllm.enabled_models)


def router_socket_findings(llmhop: Llmhop) -> list[Finding]:
    """Find what systemd would not open of llmhop's socket, where it is to open it.

    Raises:
        GeneratorError: systemd can't be asked.
    """
    socket = router_socket(llmhop)
    if socket is None:
        return []
    # A port of its own has the right type, or it would not be here.
    address = "host" if llmhop.settings.listen is None else "listen"
    options = {"ListenStream": address, "SocketMode": "socketMode"}
    return sorted(
        Finding.at(("llmhop", "settings", options[key]), what)
        for _, _, key, what in _ignored_lines({ROUTER_SOCKET: socket})
        if key in options
    )


def _ignored_by_systemd(
    vllm: Vllm, of: Mapping[str, str], services: Mapping[str, str]
) -> Iterator[Finding]:
    """The deployers' keys that systemd complains of; `of` gives each service's source."""
    for name, section, key, what in _ignored_lines(services):
        if option := added_option(vllm, of[name], key, section):
            yield Finding(option, f"{what}; see systemd.directives(7)")


def _ignored_lines(units: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    """The lines that systemd would pass over: unit, section, key, and what systemd says."""
    with tempfile.TemporaryDirectory(prefix="llmhop-units-") as directory:
        paths = [Path(directory) / name for name in units]
        for path in paths:
            path.write_text(units[path.name], encoding="utf-8")
        command = ["systemd-analyze", "verify", "--user", "--man=no", "--generators=no"]
        # A manager of its own, that knows of these units only and of no running one.
        own = {"SYSTEMD_UNIT_PATH": directory, "XDG_RUNTIME_DIR": directory, "HOME": directory}
        said = run([*command, "--recursive-errors=no", *map(str, paths)], env=own, check=False)
    if "Failed to initialize manager" in said.stderr:
        _log.warning("warning: systemd can't be asked about the units: %s", said.stderr.strip())
    for name, number, what in re.findall(
        rf"^{re.escape(directory)}/([^/]+):(\d+): (.+)$", said.stderr, re.MULTILINE
    ):
        if not _ADVICE.search(what):
            told = what.replace(", ignoring", "").rstrip(".")
            yield (
                name,
                *_section_and_key(units[name].splitlines(), int(number)),
                f"systemd says: {told}",
            )


def _section_and_key(lines: Sequence[str], number: int) -> tuple[str, str]:
    """The section and the key of a line; lines count from 1."""
    above = [line for line in lines[:number] if line.startswith("[")]
    return above[-1].strip("[]"), lines[number - 1].partition("=")[0]
