"""Options that several commands have."""

import logging
import math
import signal
import sys
from typing import Any, NoReturn

import click

from llmhop_generator.cli.exits import fail
from llmhop_generator.router.check import default_llmhop

llmhop_option = click.option(
    "--llmhop",
    metavar="PATH",
    default=default_llmhop,
    show_default="the one beside this command",
    help="The router's command: it judges its settings, and llmhop.service runs it.",
)


def _log_level(_context: click.Context, _parameter: click.Parameter, verbose: bool) -> None:
    if verbose:
        logging.getLogger().setLevel(logging.INFO)


def seconds(_context: click.Context, _parameter: click.Parameter, value: float) -> float:
    """Take a length of time that ends: `nan` and `inf` are floats too."""
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is no time to wait; give seconds, 0 or more")
    return value


class Group(click.Group):
    """A group whose commands all have `-v`, as it has itself: it may stand before or after."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Register a command."""
        cmd.params.append(verbose_option())
        super().add_command(cmd, name)

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run, and tell of wrong usage as `exits` tells of every error."""
        try:
            sys.exit(super().main(*args, **kwargs | {"standalone_mode": False}))
        except click.ClickException as error:
            if error.format_message().startswith("Usage: "):  # no command was given
                click.echo(error.format_message(), err=True)
                sys.exit(error.exit_code)
            if isinstance(error, click.UsageError) and error.ctx is not None:
                click.echo(error.ctx.get_usage(), err=True)
            fail(error.format_message(), error.exit_code)
        except click.Abort:
            fail("interrupted", 128 + signal.SIGINT)


def verbose_option() -> click.Option:
    """Give an option that shows each command that is run."""
    return click.Option(
        ["-v", "--verbose"],
        is_flag=True,
        expose_value=False,
        callback=_log_level,
        help="Show each command that is run.",
    )
