"""Compiles the way of a request to machine code with mypyc, where there is a C compiler.

The compiled modules come from the same source and lie beside it in the wheel; without them the
package is plain Python and does the same. Nothing is written to the source tree, and an editable
install is never compiled, so that no module is older than its source.

LLMHOP_COMPILE=1 in the environment makes a build fail that can't compile, and LLMHOP_COMPILE=0
makes one that doesn't.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILED: Final = (
    *("client", "relay", "models", "upstream", "observe", "quota", "routing", "http"),
    *("workers/remote_gate.py", "limits.py"),
)
"""What every request goes through: packages, with all that is in them, and single modules."""

INTERPRETED: Final = (
    # Coroutines, which mypyc makes slower and harder to read in a traceback.
    *("models/readiness.py", "upstream/connect.py", "upstream/lookup.py", "upstream/probe.py"),
    "upstream/resolver.py",
    # Records of msgspec, which checks values against annotations: mypyc keeps only the plainest,
    # and drops what stands beside the base of a class, as `frozen`, `gc` and `kw_only`.
    *("http/parsed_head.py", "observe/log_entry.py", "observe/usage.py", "routing/decision.py"),
    # A subclass of what is written in Python, which event loops look into.
    "client/body_intake.py",
    # Protocols alone.
    "relay/downstream.py",
    # What few requests go through.
    *("client/connection_limit.py", "http/body/multipart.py", "observe/metrics_page.py"),
    "routing/url_notes.py",
)
"""What is left out of those packages."""


_TOOLS = ("mypy>=1.15", "setuptools")
_NEEDED = "a C compiler and Python's headers are needed (Debian: gcc python3-dev)"


def wanted() -> bool:
    """Whether this build is to compile. Exits with a message where it is to and can't."""
    choice = os.environ.get("LLMHOP_COMPILE")
    if choice == "0":
        return False
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    headers = Path(sysconfig.get_path("include"), "Python.h")
    can = shutil.which(os.environ.get("CC", compiler)) is not None and headers.exists()
    if not can and choice is not None:
        sys.exit(f"llmhop can't be compiled: {_NEEDED}")
    return can


class Compile(BuildHookInterface[Any]):
    """The hook as hatchling finds it."""

    def dependencies(self) -> list[str]:
        """Return what has to be installed for the build; those of the router for their types."""
        return [*_TOOLS, *self.metadata.core.dependencies] if wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and put the results into the wheel."""
        if version == "editable":
            return
        if not wanted():
            self.app.display_warning(f"llmhop stays plain Python; to compile it, {_NEEDED}")
            return
        self._built = tempfile.TemporaryDirectory(prefix="llmhop-")
        target = Path(self._built.name)
        os.chdir(self.root)
        for path in compile_modules(target):
            build_data["force_include"][str(path)] = str(path.relative_to(target / "lib"))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what the wheel was made of."""
        if hasattr(self, "_built"):
            self._built.cleanup()


def compiled_modules(package: Path) -> list[Path]:
    """Return the modules that are compiled, of the package's directory."""
    left_out = {package / name for name in INTERPRETED}
    found = []
    for name in COMPILED:
        path = package / name
        found += [path] if path.suffix else sorted(path.rglob("*.py"))
    return [path for path in found if path.name != "__init__.py" and path not in left_out]


def compile_modules(target: Path) -> list[Path]:
    """Compile from the current directory into `target`/lib; return the files there.

    Exits with a message where that fails.
    """
    # Installed only for builds that compile.
    from mypyc.build import mypycify
    from setuptools import Distribution  # type: ignore[import-untyped]
    from setuptools.errors import BaseError  # type: ignore[import-untyped]

    sources = [str(path) for path in compiled_modules(Path("llmhop"))]
    # The config that mypy would find further up is for the whole tree.
    flags = ["--config-file=", f"--cache-dir={target}/cache"]
    extensions = mypycify(
        [*flags, *sources],
        target_dir=str(target / "c"),
        opt_level="3",
        debug_level="0",
        group_name="llmhop",
    )
    distribution = Distribution({"name": "llmhop", "ext_modules": extensions, "packages": []})
    command = distribution.get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(target / "lib"), str(target / "objects")
    try:
        distribution.run_command("build_ext")
    except BaseError as error:
        sys.exit(f"llmhop can't be compiled; LLMHOP_COMPILE=0 leaves it plain Python: {error}")
    return sorted((target / "lib").rglob("*.so"))
