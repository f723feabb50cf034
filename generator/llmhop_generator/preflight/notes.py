"""What holds of a host that is ready all the same, and that its administrator should know."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from llmhop_generator.contract.container_paths import unknown_paths
from llmhop_generator.contract.options import Config, Vllm
from llmhop_generator.errors import Finding
from llmhop_generator.host.lock import run_at_work
from llmhop_generator.host.systemd import hard_open_files_limit, may_raise_limits, system_states
from llmhop_generator.layout import user_manager
from llmhop_generator.preflight.boot import outdated_notes
from llmhop_generator.preflight.storage.environment_files import environment_files
from llmhop_generator.router.plain_secrets import plain_secrets
from llmhop_generator.state.unfinished_routes import CUT_OFF, read_unfinished


def host_notes(config: Config) -> list[str]:
    """Give every note on the host of a configuration.

    Raises:
        GeneratorError: a file of `provision` can't be read, or systemd can't be asked.
    """
    found = [*outdated_notes(config), *map(str, plain_secrets(config.llmhop))]
    if read_unfinished() is not None and run_at_work() is None:
        found.append(CUT_OFF)
    if isinstance(config.vllm, Vllm):
        found += map(str, _open_environment_files(config.vllm))
        found += map(str, _paths_of_the_host(config.vllm))
        pid = system_states([manager := user_manager(config.vllm.uid)])[manager].main_pid
        if pid and not may_raise_limits():
            found += limit_notes(config.vllm.open_files_limit, hard_open_files_limit(pid))
    return found


def limit_notes(wanted: int, given: float) -> list[str]:
    """Say that models are given a lower limit on open files, where root may not raise limits."""
    if given >= wanted:
        return []
    return [
        f"services.llmhop.vllm.openFilesLimit: the models get {given}, not {wanted}: root may not "
        "raise limits on this host"
    ]


def _open_environment_files(vllm: Vllm) -> Iterator[Finding]:
    for where, path in environment_files(vllm):
        if _is_open_to_all(Path(path)):
            yield Finding.at(
                where,
                f"{path} can be read by every user of this host; where it holds secrets, let "
                f"{vllm.user} alone read it (`chown {vllm.user} {path} && chmod 600 {path}`)",
            )


def _paths_of_the_host(vllm: Vllm) -> Iterator[Finding]:
    """Find paths that may be meant as ones of the host, in an image of which nothing is known."""
    models = {key: model for key, model in vllm.models.items() if model.enable}
    served = vllm.model_copy(update={"models": models}).model_dump(by_alias=True)
    for path, findings in unknown_paths(served).items():
        if os.path.exists(path):  # noqa: PTH110 - what can't be looked at is none
            yield from dict.fromkeys(findings)


def _is_open_to_all(path: Path) -> bool:
    """Whether a regular file and each directory on the way to it are open to everybody."""
    try:
        real = path.resolve()
        mode = real.stat().st_mode
        ways = [directory.stat().st_mode for directory in real.parents]
        is_readable = stat.S_ISREG(mode) and bool(mode & stat.S_IROTH)
        return is_readable and all(way & stat.S_IXOTH for way in ways)
    except (OSError, RuntimeError):  # a RuntimeError for a loop of links, before Python 3.13
        return False
