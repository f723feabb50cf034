"""The command: ``llmhop --config FILE``."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from io import TextIOBase
from pathlib import Path
from typing import Any

import click
import msgspec

from llmhop import __version__
from llmhop.config.config import Config
from llmhop.config.findings import ConfigError, Finding
from llmhop.config.load import check_unread, load
from llmhop.config.parser import config_schema_text
from llmhop.config.schema.checker import key_path
from llmhop.log.logger import LOG, take_stderr
from llmhop.log.printable import printable
from llmhop.routing.url_notes import url_notes

_STDOUT, _STDERR = 1, 2
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _stdout_is_closed() -> bool:
    # Python then has none (sys.stdout), which its types do not say.
    return not isinstance(sys.stdout, TextIOBase)


@contextmanager
def _reports_output() -> Iterator[None]:
    """Say in a line that standard output can't be written, and end."""
    try:
        yield
        if not _stdout_is_closed():
            sys.stdout.flush()
    except OSError as error:
        with suppress(OSError):
            click.echo(f"llmhop: standard output can't be written ({error.strerror})", err=True)
        # Or what is left in its buffer would be tried again, and told as a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
        sys.exit(1)


class _Command(click.Command):
    """One whose --help, --version and --schema may meet a full disk."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Read the command line."""
        with _reports_output():
            return super().make_context(info_name, args, parent, **extra)


def _print_schema(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(config_schema_text(), nl=False)
        context.exit()


def _fill_standard_streams() -> None:
    """Have something where standard streams are closed.

    Their numbers would go to sockets, and libuv aborts where one of these is closed.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(descriptor)


def _version_line() -> str:
    """Say which version this is, and whether it was compiled (see hatch_build.py)."""
    one_of_them = find_spec("llmhop.relay.exchange")
    compiled = one_of_them is not None and str(one_of_them.origin).endswith(".so")
    return "%(prog)s %(version)s" + (" (compiled)" if compiled else "")


@click.command(cls=_Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "path",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),  # config.load says what is wrong
    help="The JSON config; --schema describes it.",
)
@click.option("--check", is_flag=True, help="Check the config, secrets included, and exit.")
@click.option(
    "--without-secrets",
    is_flag=True,
    help="With --check: read no secrets and certificates, where they can't be read.",
)
@click.option(
    "--json", "for_programs", is_flag=True, help="With --check: print the problems as JSON."
)
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    help="Print the JSON Schema of the config and exit.",
)
@click.version_option(__version__, package_name="llmhop", message=_version_line())
def main(path: Path, check: bool, without_secrets: bool, for_programs: bool) -> None:
    """Route OpenAI-compatible requests to backends by their model.

    SIGHUP reads the config again. SIGTERM stops after the requests in flight, a second one at once.

    Exit codes: 0 after a stop or a good check, 1 for a config that can't be used, 2 for wrong
    usage.
    """
    if check:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)  # see __main__
        with _reports_output():
            code = _check(path, check_unread if without_secrets else _load, for_programs)
        sys.exit(code)
    if without_secrets or for_programs:
        raise click.UsageError("--without-secrets and --json belong to --check")
    _fill_standard_streams()
    try:
        config = _load(path)
        # Until there are handlers: from here on, there may be something to end in good order.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        # Imported late: a check needs no event loop.
        from llmhop.client.connection_limit import take_descriptors

        take_descriptors()
        if config.workers > 1:
            from llmhop.workers.supervisor import run
        else:
            from llmhop.process.service import run
        take_stderr()
        run(path, config)
    except ConfigError as error:
        LOG.write_plain(str(error))
        sys.exit(1)
    finally:
        LOG.close()


def _load(path: Path) -> Config:
    return load(path, may_wait=True)


def _check(file: Path, load_config: Callable[[Path], Config], for_programs: bool) -> int:
    """Print what is wrong with a config, or a line that says that it is good."""
    try:
        config = load_config(file)
    except ConfigError as error:
        if for_programs:
            click.echo(_as_json(error.findings))
        else:
            click.echo(str(error), err=True)
        return 1
    if for_programs:
        click.echo(_as_json([]))
        return 0
    count = len(config.models)
    plural = "" if count == 1 else "s"
    addresses = ", ".join(map(str, config.addresses))
    click.echo(printable(f"ok: {count} model{plural}, listening on {addresses}"))
    for path, what in url_notes(config.models):
        click.echo(printable(f"note: {key_path(*path)}: {what}"), err=True)
    return 0


def _as_json(findings: list[Finding]) -> str:
    # Keys may have halves of surrogate pairs, which only escapes can write.
    return json.dumps({"problems": msgspec.to_builtins(findings)}, separators=(",", ":"))
