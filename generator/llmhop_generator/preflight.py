"""What a host must have before anything on it is changed; every finding at once."""

import pwd
from collections.abc import Iterator
from pathlib import Path

from llmhop_generator.contract import Vllm
from llmhop_generator.errors import GeneratorError, Problem, option_path
from llmhop_generator.podman import require_podman

_LINGER = Path("/var/lib/systemd/linger")
_HOW = "switch to the NixOS configuration, or run `llmhop-generator provision CONFIG`"


def preflight(vllm: Vllm) -> None:
    """See that the host has what the containers of `vllm` need.

    Raises:
        GeneratorError: with every finding.
    """
    require_podman()
    if findings := [*_user(vllm), *_directories(vllm), *_environment_files(vllm)]:
        raise GeneratorError("the host is not ready, and nothing was changed", findings)


def _at(*path: str) -> str:
    return option_path(("vllm", *path))


def _user(vllm: Vllm) -> Iterator[Problem]:
    try:
        account = pwd.getpwnam(vllm.user)
    except KeyError:
        yield Problem(_at("user"), f"{vllm.user} does not exist on this host; {_HOW}")
        return
    for key, wanted, found in (
        ("uid", vllm.uid, account.pw_uid),
        ("gid", vllm.gid, account.pw_gid),
    ):
        if wanted != found:
            yield Problem(
                _at(key), f"is {wanted}, but {vllm.user} has {found} on this host; make them agree"
            )
    if not (_LINGER / vllm.user).exists():
        yield Problem(
            _at("user"), f"{vllm.user} does not linger, and would stop with a logout; {_HOW}"
        )
    for kind, start, count in (
        ("uid", vllm.sub_uid_start, vllm.sub_uid_count),
        ("gid", vllm.sub_gid_start, vllm.sub_gid_count),
    ):
        if not has_range(Path(f"/etc/sub{kind}"), vllm.user, vllm.uid, start, count):
            yield Problem(
                _at(f"sub{kind.capitalize()}Start"),
                f"/etc/sub{kind} does not give {vllm.user} {count} ids from {start} on; {_HOW}",
            )


def has_range(path: Path, user: str, uid: int, start: int, count: int) -> bool:
    """Whether a line of /etc/subuid or /etc/subgid gives a user exactly this range.

    Source: subuid(5); a line names the user or its id.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return False
    wanted = [f"{owner}:{start}:{count}" for owner in (user, uid)]
    return any(line.strip() in wanted for line in lines)


def _directories(vllm: Vllm) -> Iterator[Problem]:
    for key, path in (("cacheDir", vllm.cache_dir), ("dataDir", vllm.data_dir)):
        if not Path(path).is_dir():
            yield Problem(_at(key), f"{path} is not a directory on this host; {_HOW}")


def _environment_files(vllm: Vllm) -> Iterator[Problem]:
    named = {_at("environmentFile"): vllm.environment_file}
    for key, model in vllm.models.items():
        if model.enable:
            named[_at("models", key, "environmentFile")] = model.environment_file
    for where, path in named.items():
        if path is not None and not Path(path).is_file():
            yield Problem(where, f"{path} does not exist on this host; put it there, or unset it")
