"""Manual pages and shell completions, made from the commands that both packages install."""

from inspect import cleandoc
from pathlib import Path

import click
import llmhop
import llmhop_generator
from click.shell_completion import get_completion_class
from click_man.man import ManPage
from llmhop.cli import main as router
from llmhop_generator.cli.main import main as generator

from tests.docs.markdown import ROOT

COMMANDS = {
    "router": ("llmhop", router, llmhop.__version__),
    "generator": ("llmhop-generator", generator, llmhop_generator.__version__),
}
"""The command of each project, by its directory."""

# Where each shell looks for completions, below a directory of XDG_DATA_DIRS.
_COMPLETIONS = {
    "bash": "bash-completion/completions/{}",
    "zsh": "zsh/site-functions/_{}",
    "fish": "fish/vendor_completions.d/{}.fish",
}


def fresh_command_pages() -> dict[Path, str]:
    """Write what goes below `share` in each project, by path."""
    return {
        ROOT / project / "share" / path: text
        for project, (name, command, version) in COMMANDS.items()
        for path, text in (*_manual(name, command, version), *_completions(name, command))
    }


def _manual(
    name: str, command: click.Command, version: str, parent: click.Context | None = None
) -> list[tuple[str, str]]:
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    # Filled by hand: click_man's own way cuts the line that lists show at 45 characters.
    page = ManPage(context.command_path)
    page.version = version
    page.date = ""  # of the build, and so another in each
    page.short_help = command.get_short_help_str(limit=100).rstrip(".")
    page.description = cleandoc(command.help or "")
    page.synopsis = " ".join(command.collect_usage_pieces(context))
    records = (each.get_help_record(context) for each in command.get_params(context))
    page.options = [record for record in records if record is not None]
    below = command.commands if isinstance(command, click.Group) else {}
    page.commands = [(each, below[each].get_short_help_str(limit=100)) for each in sorted(below)]
    found = [(f"man/man1/{context.command_path.replace(' ', '-')}.1", str(page))]
    for each in sorted(below):
        found += _manual(each, below[each], version, context)
    return found


def _completions(name: str, command: click.Command) -> list[tuple[str, str]]:
    variable = f"_{name.upper().replace('-', '_')}_COMPLETE"
    found = []
    for shell, path in _COMPLETIONS.items():
        completion = get_completion_class(shell)
        assert completion is not None
        # Not source(): for bash it first asks which version is installed here.
        source = completion.source_template % completion(command, {}, name, variable).source_vars()
        found.append((path.format(name), source.strip() + "\n"))
    return found
