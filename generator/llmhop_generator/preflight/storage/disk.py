"""Findings about room on disk, and file systems that can't hold images."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from llmhop_generator.contract.options import Model, Vllm
from llmhop_generator.errors import Finding, GeneratorError
from llmhop_generator.host.process import run

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


def disk_findings(vllm: Vllm, *, lacks_image: bool) -> Iterator[Finding]:
    """Find directories on a file system that has no room, or that can't hold what is kept there."""
    if Path(vllm.data_dir).is_dir():
        yield from _data_dir(vllm, NEEDED_FOR_IMAGE if lacks_image else NEEDED_TO_RUN)
    if Path(vllm.cache_dir).is_dir():
        yield from _cache_dir(vllm)


def _data_dir(vllm: Vllm, needed: int) -> Iterator[Finding]:
    where = ("vllm", "dataDir")
    try:
        kind = _file_system(vllm.data_dir)
    except GeneratorError as error:
        yield Finding.at(where, str(error))
        kind = ""
    if kind in _NO_OVERLAYS or (kind == "overlay" and shutil.which("fuse-overlayfs") is None):
        yield Finding.at(
            where,
            f"{vllm.data_dir} lies on {kind}, which can't hold Podman's overlays; "
            "put it on a local file system such as ext4, xfs or btrfs",
        )
    free = _free(vllm.data_dir)
    if free < needed:
        yield Finding.at(
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
