"""Compiles the way of a request to machine code with mypyc, where a build asks for it.

    HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 pip install ./router

The compiled modules come from the same source and lie beside it in the wheel; without them the
package is plain Python and does the same. Nothing is written to the source tree, and an editable
install is never compiled, so that no module is older than its source.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILED: Final = (
    *("client_protocol", "client_connection", "connection_memo", "exchange", "sending"),
    *("backends", "gate", "pool", "health", "upstream", "local_response"),
    *("observer", "ledger", "request_record", "access_log", "metric_store", "metric_cells"),
    *("rewrite", "body_stream", "routing"),
    *("response_reader", "request_reader", "chunked", "head_cache", "limits"),
)
"""What every request goes through. Where msgspec checks values against the annotations of a
class, that class is not compiled, because mypyc keeps only the plainest of its annotations."""


class Compile(BuildHookInterface[Any]):
    """The hook as hatchling finds it; pyproject.toml says that it is off unless asked for."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and put the results into the wheel."""
        if version == "editable":
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
        if version != "editable":
            self._built.cleanup()


def compile_modules(target: Path) -> list[Path]:
    """Compile from the current directory into `target`/lib; return the files there.

    Exits with a message where there is no compiler.
    """
    # Only where a build asks for this are they installed.
    from mypyc.build import mypycify
    from setuptools import Distribution  # type: ignore[import-untyped]
    from setuptools.errors import BaseError  # type: ignore[import-untyped]

    sources = [f"llmhop/{module}.py" for module in COMPILED]
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
        needed = "a C compiler and Python's headers are needed (Debian: gcc python3-dev)"
        sys.exit(f"llmhop can't be compiled, {needed}: {error}")
    return sorted((target / "lib").rglob("*.so"))
