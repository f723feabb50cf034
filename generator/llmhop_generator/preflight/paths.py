"""Findings about what containerConfig names of this host: sources of volumes, devices, profiles.

Podman makes none of it: it looks at each when it makes the container (getDefaultMountOptions in
pkg/util/mount_opts_linux.go), which is after the model before has stopped.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmhop_generator.contract.images import is_vllms_own
from llmhop_generator.contract.keys.arguments import flags_of
from llmhop_generator.contract.options import Model, Vllm
from llmhop_generator.contract.text import effective_lines
from llmhop_generator.contract.unit_keys import texts_of
from llmhop_generator.errors import Finding
from llmhop_generator.errors import Path as OptionPath
from llmhop_generator.host.cdi import is_cdi_name
from llmhop_generator.host.process import Account
from llmhop_generator.layout import quadlet_dir, runtime_dir
from llmhop_generator.preflight.storage.access import access_findings

# Keys and arguments by which another than root is in a container, or root another than the user.
_OTHER_USERS = {
    *("User", "UserNS", "UIDMap", "GIDMap", "SubUIDMap", "SubGIDMap", "RemapUsers"),
    *("--user", "-u", "--userns", "--uidmap", "--gidmap", "--subuidname", "--subgidname"),
}
_CHANGES_OWNER = re.compile(r"[:,](U|chown|idmap)\b")


def path_findings(vllm: Vllm, account: Account | None) -> Iterator[Finding]:
    """Find the paths of enabled models that their user does not have.

    `account` is the user's, None where it does not exist: then it is root that looks.
    """
    tests = []
    for path, where in _named_paths(vllm).items():
        if Path(path).exists():
            what = f"can't be reached by {vllm.user}, who starts the container; let that user in"
        else:
            what = "does not exist on this host, and Podman does not make it; make it first"
        tests.append((path, Finding.at(where, f"{path} {what}")))
    if account is None:
        yield from (problem for path, problem in tests if not Path(path).exists())
        return
    # Asked is the user: of a file system of its own root may see nothing.
    missing = [*access_findings(account, [("-e", path, problem) for path, problem in tests])]
    yield from missing
    unread = access_findings(account, list(_read_tests(vllm)))
    told = {problem.path for problem in missing}
    yield from dict.fromkeys(problem for problem in unread if problem.path not in told)


def _read_tests(vllm: Vllm) -> Iterator[tuple[str, str, Finding]]:
    """Tests of files and directories that are mounted, which root in a container reads.

    In vLLM's own images that is the user, unless keys of a model say otherwise.
    """
    for name, model in vllm.models.items() if is_vllms_own(vllm.image) else ():
        lines = [*_lines_of(vllm, name, model)]
        if any(key in _OTHER_USERS or _names_a_user(key, text) for key, text, _ in lines):
            continue
        for key, text, where in lines:
            for path in () if _CHANGES_OWNER.search(text) else _mounted(key, text):
                resolved = _resolve(path, vllm)
                if resolved is not None:
                    what = f"{resolved} can't be read by {vllm.user}, who root in the container is"
                    problem = Finding.at(where, f"{what}; let that user read it")
                    yield from ((flag, resolved, problem) for flag in _needed(Path(resolved)))


def _names_a_user(key: str, text: str) -> bool:
    return key == "PodmanArgs" and any(flag in _OTHER_USERS for flag, _ in flags_of(text))


def _needed(path: Path) -> tuple[str, ...]:
    """What test(1) is asked of a path that is to be read."""
    if path.is_dir():
        return "-r", "-x"
    return ("-r",) if path.is_file() else ()


def _named_paths(vllm: Vllm) -> dict[str, OptionPath]:
    """The paths of the host that keys of enabled models name, and where each is set."""
    found: dict[str, OptionPath] = {}
    for key, text, where in container_lines(vllm):
        for path in _paths(key, text):
            if (resolved := _resolve(path, vllm)) is not None:
                found.setdefault(resolved, where)
    return found


def container_lines(vllm: Vllm) -> Iterator[tuple[str, str, OptionPath]]:
    """Give the lines of containerConfig that count for enabled models: key, text and place."""
    for name, model in vllm.models.items():
        yield from _lines_of(vllm, name, model)


def _lines_of(vllm: Vllm, name: str, model: Model) -> Iterator[tuple[str, str, OptionPath]]:
    own = ("vllm", "models", name, "containerConfig")
    for key, value in (vllm.container_config | model.container_config).items():
        above = own if key in model.container_config else ("vllm", "containerConfig")
        for where, text in _lines(value, (*above, key)) if model.enable else ():
            yield key, text, where


def devices_in(key: str, text: str) -> Iterator[str]:
    """Give the devices that a line of containerConfig names; optional ones, `-…`, are left out."""
    if key == "AddDevice":
        words = (word.strip("\"'") for word in text.split())
        yield from (word for word in words if not word.startswith("-"))
    elif key == "PodmanArgs":
        for flag, value in flags_of(text):
            if flag == "--device":
                yield value
            elif flag == "--gpus":  # a short form of CDI names of NVIDIA's (podman-run(1))
                yield from (f"nvidia.com/gpu={gpu}" for gpu in value.split(","))


def _lines(value: Any, where: OptionPath) -> list[tuple[OptionPath, str]]:
    """The lines of a key that count, each with its place."""
    lines = effective_lines(map(str.strip, texts_of(value)))
    return [
        ((*where, at) if isinstance(value, list) else where, line) for at, line in lines.items()
    ]


def _paths(key: str, text: str) -> Iterator[str]:
    for device in devices_in(key, text):
        if not is_cdi_name(device):
            yield device.partition(":")[0]
    if key == "SeccompProfile" and text != "unconfined":
        yield text
    yield from _mounted(key, text)


def _mounted(key: str, text: str) -> Iterator[str]:
    """The paths that a line has mounted."""
    match key:
        case "Volume" if ":" in text:
            yield text.partition(":")[0]
        case "Mount":
            yield from _bind_sources(text)
        case "PodmanArgs":
            for flag, value in flags_of(text):
                match flag:
                    case "-v" | "--volume" if ":" in value:
                        yield from _mounted("Volume", value)
                    case "--mount":
                        yield from _bind_sources(value)


def _bind_sources(text: str) -> Iterator[str]:
    """The source of a bind mount (podman-run(1), --mount)."""
    fields: Mapping[str, str] = dict(part.strip().partition("=")[::2] for part in text.split(","))
    source = fields.get("source") or fields.get("src")
    if source and fields.get("type") == "bind":
        yield source


def _resolve(path: str, vllm: Vllm) -> str | None:
    """A path as systemd and Podman resolve it, or None where that can't be told, or it is none."""
    for specifier, value in (("%h", vllm.data_dir), ("%t", str(runtime_dir(vllm.uid)))):
        path = path.replace(specifier, value)
    if "%" in path or "$" in path:
        return None
    if path.startswith("."):
        path = posixpath.join(quadlet_dir(vllm.uid), path)
    return posixpath.normpath(path) if path.startswith("/") else None
