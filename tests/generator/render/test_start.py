"""What a quick start rests on: pydantic or rich take longer to load than all the rest."""

import subprocess
import sys

import pytest

AN_APPLY_WITH_NOTHING_TO_DO = """
import llmhop_generator.cli.main, llmhop_generator.host.lock, llmhop_generator.apply.fast_path
"""


@pytest.mark.parametrize("code", ["import llmhop_generator.cli.main", AN_APPLY_WITH_NOTHING_TO_DO])
def test_neither_help_nor_an_apply_with_nothing_to_do_loads_what_is_slow(code: str) -> None:
    slow = "('pydantic', 'rich')"
    shown = f"import sys; print(*(name for name in sys.modules if name.startswith({slow})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{shown}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
