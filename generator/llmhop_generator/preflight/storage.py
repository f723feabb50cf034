"""Findings about directories, environment files and room on disk."""

import os
import pwd
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from llmhop_generator.contract.options import Model, Vllm
from llmhop_generator.errors import Finding, GeneratorError, option_path
from llmhop_generator.host import files
from llmhop_generator.host.env_file import misread
from llmhop_generator.host.process import Account, run
from llmhop_generator.preflight.boot import PROVISION_HINT
from llmhop_generator.preflight.user import find_account

# Without a trusted or user xattr, whiteouts or rename, they can't be an overlay's upper layer.
_NO_OVERLAYS = frozenset(
    ["9p", "cifs", "exfat", "fuse.sshfs", "msdos", "nfs", "nfs4", "ntfs", "ntfs3", "smb3", "vfat"]
)
# Where a variable of these says so, or vLLM's flag, a model is not downloaded into the cache.
_ELSEWHERE = {"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "VLLM_USE_MODELSCOPE"}

GIB = 2**30
NEEDED_FOR_IMAGE = 5 * GIB
"""Less than any vLLM image takes; the CUDA ones take 20 GB and more."""
NEEDED_TO_RUN = GIB // 4
_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")

_TEST = 'while [ $# -gt 0 ]; do test "$1" "$2" || printf "%s\\n" "$3"; shift 3; done'


def storage_findings(
    vllm: Vllm, account: Account | None, *, lacks_image: bool
) -> Iterator[Finding]:
    """Find what the user can't read, write or keep; `account` is None where it does not exist."""
    tests: list[tuple[str, str, Finding]] = []
    for where, path in _directories(vllm):
        if not Path(path).is_dir():
            yield Finding(where, f"{path} is not a directory on this host; {PROVISION_HINT}")
            continue
        advice = f"{path} can't be written by {vllm.user}; give it to that user"
        tests.append(("-w", path, Finding(where, advice)))
    for where, path in _environment_files(vllm):
        if not Path(path).is_file():
            what = "is not a file" if Path(path).exists() else "does not exist on this host"
            yield Finding(where, f"{path} {what}; put one there, or unset it")
            continue
        content = files.read_regular(Path(path)) or b""
        yield from (Finding(where, f"{path} {what}") for what in misread(content))
        advice = f"{path} can't be read by {vllm.user}, who reads it; let that user read it"
        tests.append(("-r", path, Finding(where, advice)))
    if account is not None:
        yield from failed_as(account, tests)
    if Path(vllm.data_dir).is_dir():
        yield from home_findings(vllm)
        yield from _data_dir(vllm, NEEDED_FOR_IMAGE if lacks_image else NEEDED_TO_RUN)
    if Path(vllm.cache_dir).is_dir():
        yield from _cache_dir(vllm)


def directory_conflicts(vllm: Vllm) -> Iterator[Finding]:
    """Find what others have there: `provision`, or a switch of NixOS, would give it to the user.

    systemd-tmpfiles does. What is empty and root's is nobody's yet, such as a disk that is mounted.
    """
    account = find_account(vllm.user)
    ours = {vllm.uid} if account is None else {vllm.uid, account.pw_uid}
    for where, path in _directories(vllm):
        try:
            uid = Path(path).stat().st_uid
        except OSError:
            continue
        if uid not in ours and not (uid == 0 and _is_empty(Path(path))):
            owner = f"{vllm.uid}:{vllm.gid} {shlex.quote(path)}"
            yield Finding(
                where,
                f"{path} is there and belongs to {_user_name(uid)}, not to {vllm.user}; choose "
                f"another, or, where nobody else uses it, `chown {owner}`",
            )


def _is_empty(path: Path) -> bool:
    """Whether a directory is seen to have nothing in it but what a new file system has."""
    try:
        return path.is_dir() and all(each.name == "lost+found" for each in path.iterdir())
    except OSError:  # closed to who only asks what `provision` would do
        return False


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _directories(vllm: Vllm) -> Iterator[tuple[str, str]]:
    yield option_path(("vllm", "cacheDir")), vllm.cache_dir
    yield option_path(("vllm", "dataDir")), vllm.data_dir


def _environment_files(vllm: Vllm) -> Iterator[tuple[str, str]]:
    if vllm.environment_file is not None:
        yield option_path(("vllm", "environmentFile")), vllm.environment_file
    for key, model in vllm.models.items():
        if model.enable and model.environment_file is not None:
            yield option_path(("vllm", "models", key, "environmentFile")), model.environment_file


def failed_as(account: Account, tests: list[tuple[str, str, Finding]]) -> Iterator[Finding]:
    """Run tests of test(1) as a user, in one process; give the problems of those that fail."""
    words = [w for i, (flag, path, _) in enumerate(tests) for w in (flag, path, str(i))]
    for line in run(["/bin/sh", "-c", _TEST, "sh", *words], account=account).stdout.split():
        yield tests[int(line)][2]


def home_findings(vllm: Vllm) -> Iterator[Finding]:
    """Find a home of the user, if it exists, that is not the directory of its data."""
    account = find_account(vllm.user)
    if account is None:
        return
    home = account.pw_dir
    if os.path.normpath(home) != os.path.normpath(vllm.data_dir):
        yield Finding.at(
            ("vllm", "dataDir"),
            f"is {vllm.data_dir}, but the home of {vllm.user}, below which Podman keeps its "
            f"storage, is {home}; make them agree",
        )


def _data_dir(vllm: Vllm, needed: int) -> Iterator[Finding]:
    where = option_path(("vllm", "dataDir"))
    try:
        kind = _file_system(vllm.data_dir)
    except GeneratorError as error:
        yield Finding(where, str(error))
        kind = ""
    if kind in _NO_OVERLAYS or (kind == "overlay" and shutil.which("fuse-overlayfs") is None):
        yield Finding(
            where,
            f"{vllm.data_dir} lies on {kind}, which can't hold Podman's overlays; "
            "put it on a local file system such as ext4, xfs or btrfs",
        )
    free = _free(vllm.data_dir)
    if free < needed:
        yield Finding(
            where,
            f"{vllm.data_dir} has {free / GIB:.1f} GiB left and needs {needed / GIB:.2f} at the "
            "least; make room",
        )


def _cache_dir(vllm: Vllm) -> Iterator[Finding]:
    """Find a cache without room, where there is a model to download; a full one serves the rest."""
    free = _free(vllm.cache_dir)
    if free >= NEEDED_TO_RUN:
        return
    absent = [m.name for m in vllm.enabled_models if _is_to_download(vllm, m)]
    if absent:
        yield Finding.at(
            ("vllm", "cacheDir"),
            f"{vllm.cache_dir} has {free / GIB:.1f} GiB left, and {', '.join(absent)} is yet to be "
            "downloaded into it; make room",
        )


def _is_to_download(vllm: Vllm, model: Model) -> bool:
    """Whether nothing of a repository is in the cache (huggingface_hub, "cache-system").

    Of one that is kept elsewhere, or where the cache can't be looked into, nothing is told.
    """
    variables = vllm.environment.keys() | model.environment.keys()
    if (
        variables & _ELSEWHERE
        or "download-dir" in vllm.model_settings.keys() | model.settings.keys()
    ):
        return False
    below = Path(vllm.cache_dir, "hub", f"models--{model.model.replace('/', '--')}")
    try:
        return bool(_REPOSITORY.fullmatch(model.model)) and not below.is_dir()
    except OSError:
        return False


def _free(path: str) -> int:
    """The bytes that a user may still write to the file system of a path."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _file_system(path: str) -> str:
    """The type of the file system that a path lies on: of several, the one mounted last.

    Raises:
        GeneratorError: findmnt(8) does not tell it.
    """
    found = run(["findmnt", "--noheadings", "--output=FSTYPE", f"--target={path}"]).stdout.split()
    return found[-1] if found else ""
