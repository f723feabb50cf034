"""The stand-in engine's image: a small Debian with Python, packed for `podman import`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.host.build import debootstrap, run, tar
from tests.host.cache import Cache

SOURCE = Path(__file__).with_name("vllm.py")
PARSER = Path(__file__).with_name("serve.py")
SUITE = "trixie"
PACKAGES = ("python3",)

# The two ways in which vLLM's images start it; see the entrypoints in its Dockerfile.
OLD_ENTRYPOINT = ("python3", "-m", "vllm.entrypoints.openai.api_server")  # up to v0.11
NEW_ENTRYPOINT = ("vllm", "serve")  # later


def debian(cache: Cache) -> Path:
    """The root without the engine, which changes seldom."""

    def make(target: Path) -> None:
        debootstrap(SUITE, "essential", PACKAGES, target)

    return cache.artefact("standin-root", [SUITE, *PACKAGES], make)


def standin_tar(cache: Cache) -> Path:
    """The image's root file system as a tar archive."""
    base = debian(cache)

    def make(target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target.parent) as space:
            root = Path(space) / "root"
            run(["cp", "--archive", base, root])
            command = root / "usr/local/bin/vllm"
            entrypoints = root / "usr/lib/python3/dist-packages/vllm/entrypoints"
            module, parser = entrypoints / "openai/api_server.py", entrypoints / "cli/serve.py"
            for place, source in ((command, SOURCE), (module, SOURCE), (parser, PARSER)):
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, place)
                place.chmod(0o755)
            tar(root, target)

    return cache.artefact("standin.tar", [base.name, SOURCE, PARSER, Path(__file__)], make)
