"""The command `llmhop-generator`."""

import logging
import shutil
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import click

from llmhop_generator import __version__, files
from llmhop_generator.apply import apply as bring_host
from llmhop_generator.contract import Vllm
from llmhop_generator.errors import GeneratorError
from llmhop_generator.load import read_config
from llmhop_generator.preflight import require_root
from llmhop_generator.process import Account, become
from llmhop_generator.progress import wait_until_up
from llmhop_generator.provision import provision as set_up_host
from llmhop_generator.render import render_tree
from llmhop_generator.schema import contract_schema_text
from llmhop_generator.status import as_json, as_table, journal_of
from llmhop_generator.status import status as host_status
from llmhop_generator.systemd import UserManager

EXIT_ERROR = 1
EXIT_NOT_UP = 3
WATCH_S = 2

_config = click.argument("config", metavar="CONFIG")


def _default_llmhop() -> str:
    """The router's command beside this one, else on the PATH, else for systemd to look up."""
    beside = Path(sys.argv[0]).resolve().with_name("llmhop")
    return str(beside) if beside.is_file() else shutil.which("llmhop") or "llmhop"


_llmhop = click.option(
    "--llmhop",
    metavar="PATH",
    default=_default_llmhop,
    show_default="the one beside this command",
    help="The router's command, for llmhop.service.",
)


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Turn our errors into messages and exit codes."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except GeneratorError as error:
            _fail(str(error))

    return wrapped


def _fail(message: str, code: int = EXIT_ERROR) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("-v", "--verbose", is_flag=True, help="Show each command that is run.")
def main(verbose: bool) -> None:
    """Turn an llmhop configuration into Podman Quadlet units and bring the host to that state.

    CONFIG is a JSON file, or - for standard input. Exit codes: 0 done, 1 error,
    2 wrong usage, 3 applied but a model is not up.
    """
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)


@main.command()
@_config
@_command
def validate(config: str) -> None:
    """Check CONFIG and print what it serves."""
    read = read_config(config)
    models = read.vllm.enabled_models if isinstance(read.vllm, Vllm) else []
    for model in models:
        click.echo(f"{model.name}: {model.model} on port {model.port}")
    click.echo(f"{config} is valid: {len(models)} model{'' if len(models) == 1 else 's'} to serve")


@main.command()
def schema() -> None:
    """Print the JSON Schema of CONFIG."""
    click.echo(contract_schema_text(), nl=False)


@main.command()
@_config
@_llmhop
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the files go; made if it is not there.",
)
@_command
def render(config: str, llmhop: str, output: Path) -> None:
    """Write what CONFIG becomes below DIR, and touch nothing else.

    DIR/quadlet has the units, DIR/llmhop.json the router's configuration, and
    DIR/host what a host needs that is not NixOS.
    """
    tree = render_tree(read_config(config), llmhop)
    for path, text in tree.items():
        files.write(output / path, text)
    for name in files.read_ours(output / "quadlet"):
        if f"quadlet/{name}" not in tree:
            files.remove(output / "quadlet" / name)


@main.command()
@_config
@_llmhop
@click.option("--dry-run", is_flag=True, help="Show the steps, and take none.")
@_command
def provision(config: str, llmhop: str, dry_run: bool) -> None:
    """Set up this host for CONFIG: user, ids, directories, services. Not for NixOS."""
    set_up_host(read_config(config), llmhop, click.echo, dry_run=dry_run)


@main.command()
@_config
@click.option("--wait/--no-wait", default=True, help="Wait until the models are healthy.")
@_command
def apply(config: str, wait: bool) -> None:
    """Bring this host to the state that CONFIG describes."""
    read = read_config(config)
    services = bring_host(read, click.echo)
    if not wait or not isinstance(read.vllm, Vllm):
        return
    account = Account(read.vllm.uid, read.vllm.gid)
    failed = _wait(UserManager(account), services)
    if failed:
        names = [service.removeprefix("vllm-").removesuffix(".service") for service in failed]
        _fail(
            f"not up: {', '.join(failed)}. The other models serve. "
            f"See why: llmhop-generator logs {names[0]}",
            EXIT_NOT_UP,
        )


@main.command()
@click.option("--json", "for_programs", is_flag=True, help="Print JSON.")
@click.option("--watch", is_flag=True, help="Print it again every two seconds.")
@_command
def status(for_programs: bool, watch: bool) -> None:
    """Show how the models on this host are."""
    require_root("status")
    show = as_json if for_programs else as_table
    while True:
        text = show(host_status())
        if watch:
            click.clear()
        click.echo(text)
        if not watch:
            return
        time.sleep(WATCH_S)


@main.command()
@click.argument("model", metavar="MODEL")
@click.option("-n", "--lines", default=100, show_default=True, help="How many lines to begin with.")
@click.option("--follow/--no-follow", default=True, help="Wait for more lines.")
@_command
def logs(model: str, lines: int, follow: bool) -> None:
    """Show the journal of MODEL."""
    require_root("logs")
    become(journal_of(model, lines=lines, follow=follow))


def _wait(manager: UserManager, services: list[str]) -> list[str]:
    live = sys.stdout.isatty()
    clear = "\r\033[K" if live else ""

    def report(line: str) -> None:
        click.echo(f"{clear}{line}")

    def tick(line: str) -> None:
        if live:
            click.echo(f"{clear}{line}", nl=False)

    return wait_until_up(manager, services, report, tick)
