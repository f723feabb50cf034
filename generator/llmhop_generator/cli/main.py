"""The command `llmhop-generator`."""

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmhop_generator import __version__
from llmhop_generator.cli.eval import evaluate
from llmhop_generator.cli.exits import (
    EXIT_CHANGES,
    EXIT_NOT_UP,
    fail,
    reports_errors,
    reports_findings,
    reports_signals,
)
from llmhop_generator.cli.messages import Formatter, say, use_nixos_names, write
from llmhop_generator.cli.options import Group, llmhop_option, seconds, verbose_option
from llmhop_generator.cli.terminal import terminal
from llmhop_generator.errors import GeneratorError
from llmhop_generator.host.process import become, require_root
from llmhop_generator.host.signals import exit_on_signals
from llmhop_generator.layout import ENVIRONMENT_KEY
from llmhop_generator.parse.config_input import read_input
from llmhop_generator.router.check import judge_by

if TYPE_CHECKING:
    from llmhop_generator.status.report import Status

# What needs pydantic is imported by the commands that need it: it takes longer to load
# than all the rest, and an apply with nothing to do goes without.

WATCH_S = 2
LOCK_TIMEOUT_S = 300

# For completions alone: `read_input` says what is wrong with a file.
_config = click.argument(
    "config", metavar="CONFIG", type=click.Path(readable=False, allow_dash=True)
)


def _model_names(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[str]:
    from llmhop_generator.status.model_journal import model_names

    try:
        return [name for name in model_names() if name.startswith(incomplete)]
    except GeneratorError:
        return []


_json = click.option("--json", "for_programs", is_flag=True, help="Print JSON.")


@click.group(
    cls=Group, params=[verbose_option()], context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Turn an llmhop configuration into Podman Quadlet units and bring the host to that state.

    CONFIG is a JSON file, or - for standard input. Exit codes: 0 done, 1 error,
    2 wrong usage, 3 applied but a model is not up, 4 diff found changes.
    """
    use_nixos_names(context)
    log = logging.StreamHandler(sys.stderr)
    log.setFormatter(Formatter("%(message)s"))
    logging.basicConfig(handlers=[log])


@main.command()
@_config
@llmhop_option
@_json
@reports_errors
def validate(config: str, llmhop: str, for_programs: bool) -> None:
    """Check CONFIG and print what it serves."""
    from llmhop_generator.contract import privileged_ports
    from llmhop_generator.contract.options import Vllm
    from llmhop_generator.parse.load import read_config
    from llmhop_generator.router.plain_secrets import plain_secrets

    with reports_findings(for_programs) as found:
        found |= {"warnings": [], "models": []}
        read = read_config(config, judge_by(llmhop))
        models, warnings = [], [*plain_secrets(read.llmhop)]
        if isinstance(read.vllm, Vllm):
            models = read.vllm.enabled_models
            # Which ports its host leaves to everybody, this one can't know.
            warnings += privileged_ports.model_findings(read.vllm, privileged_ports.DEFAULT_START)
        found["warnings"] = [each.fields for each in warnings]
        found["models"] = [
            {"name": model.name, "model": model.model, "port": model.port} for model in models
        ]
    if for_programs:
        return
    for problem in warnings:
        say(f"warning: {problem}", err=True)
    for model in models:
        say(f"{model.name}: {model.model} on port {model.port}")
    say(f"{config} is valid: {len(models)} model{'' if len(models) == 1 else 's'} to serve")


@main.command()
@reports_errors
def schema() -> None:
    """Print the JSON Schema of CONFIG."""
    from llmhop_generator.contract.schema import contract_schema_text

    write(contract_schema_text())


@main.command()
@_config
@llmhop_option
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the files go; made if it is not there.",
)
@click.option(
    "--verify", is_flag=True, help="Have Podman and systemd read the units, and fail if they can't."
)
@reports_errors
def render(config: str, llmhop: str, output: Path, verify: bool) -> None:
    """Write what CONFIG becomes below DIR, and touch nothing else.

    DIR/quadlet has the units, DIR/llmhop.json the router's configuration, and
    DIR/host what a host needs that is not NixOS.
    """
    from llmhop_generator.cli.write_tree import write_tree
    from llmhop_generator.parse.load import read_config
    from llmhop_generator.preflight.verify import verify_units
    from llmhop_generator.render.tree import render as render_config
    from llmhop_generator.render.tree import render_tree

    read = read_config(config, judge_by(llmhop))
    if verify:
        verify_units(read, render_config(read).quadlets)
    tree = render_tree(read, llmhop)
    write_tree(output, tree)


@main.command()
@_config
@llmhop_option
@click.option("--dry-run", is_flag=True, help="Show the steps, and take none.")
@reports_errors
def provision(config: str, llmhop: str, dry_run: bool) -> None:
    """Set up this host for CONFIG: user, ids, directories, services. Not for NixOS."""
    from llmhop_generator.apply.provision import provision as set_up_host
    from llmhop_generator.parse.load import read_config

    set_up_host(read_config(config, judge_by(llmhop)), llmhop, say, dry_run=dry_run)


@main.command()
@_config
@llmhop_option
@_json
@click.option(
    "--before-switch",
    is_flag=True,
    help="Look only for what a switch of NixOS would take from others, or leave as it is.",
)
@reports_errors
def check(config: str, llmhop: str, for_programs: bool, before_switch: bool) -> None:
    """See that this host is ready for CONFIG; every finding at once, with what to do."""
    from llmhop_generator.contract.options import Vllm
    from llmhop_generator.image.flag_check import check_flags
    from llmhop_generator.parse.load import read_config
    from llmhop_generator.preflight.check import preflight, switch_preflight
    from llmhop_generator.preflight.notes import host_notes
    from llmhop_generator.render.tree import render

    with reports_findings(for_programs) as found:
        found["notes"] = notes = list[str]()
        read = read_config(config, judge_by(llmhop))
        require_root("check")
        if before_switch:
            switch_preflight(read)
        else:
            tell = notes.append if for_programs else say
            for note in host_notes(read):
                tell(note)
            preflight(read, render(read))
            if isinstance(read.vllm, Vllm):
                check_flags(read.vllm, tell)
    if not for_programs:
        say("this host is ready")


@main.command()
@_config
@llmhop_option
@_json
@reports_errors
def diff(config: str, llmhop: str, for_programs: bool) -> None:
    """Show what `apply` would do, and do nothing. Exit code 0: nothing, 4: these steps."""
    from llmhop_generator.apply.run import plan_for, warnings
    from llmhop_generator.host.lock import run_at_work
    from llmhop_generator.parse.load import read_config
    from llmhop_generator.planning.plan_text import as_json, lines
    from llmhop_generator.preflight.boot import outdated_notes
    from llmhop_generator.status.report import under_way

    read = read_config(config, judge_by(llmhop))
    # Units bear digests of the files, made with the key, so that none can be compared without.
    require_root(
        "diff",
        f"reads environment files, and the key in {ENVIRONMENT_KEY} by which units tell that "
        "one changed",
    )
    at_work = run_at_work()
    plan = plan_for(read)
    if at_work := at_work or run_at_work():
        say(under_way(at_work), err=True)
    for warning in [*outdated_notes(read), *warnings(plan)]:
        say(f"warning: {warning}", err=True)
    if for_programs:
        say(as_json(plan))
    elif plan.steps:
        from llmhop_generator.cli import tables

        tables.show(lines(plan), colours=tables.STEPS)
    else:
        say("no change")
    sys.exit(EXIT_CHANGES if plan.steps else 0)


@main.command()
@_config
@llmhop_option
@click.option("--wait/--no-wait", default=True, help="Wait until the models are healthy.")
@click.option(
    "--no-wait-at-boot", is_flag=True, help="Do not wait while the system is starting up."
)
@click.option(
    "--lock-timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    callback=seconds,
    default=LOCK_TIMEOUT_S,
    show_default=True,
    help="How long to wait for another run to end.",
)
@click.option(
    "--files-only",
    is_flag=True,
    help="Put files in place and start nothing: at boot, before the user's manager starts.",
)
@reports_errors
def apply(
    config: str,
    llmhop: str,
    wait: bool,
    no_wait_at_boot: bool,
    lock_timeout: float,
    files_only: bool,
) -> None:
    """Bring this host to the state that CONFIG describes."""
    from llmhop_generator.apply.fast_path import is_up_to_date, remember
    from llmhop_generator.host.files import discard_unfinished
    from llmhop_generator.host.lock import locked, try_locked
    from llmhop_generator.host.systemd import system_is_starting
    from llmhop_generator.layout import STATE_FILES

    data = read_input(config)
    require_root("apply")
    exit_on_signals()  # so that also a run that is told to end gives llmhop every route
    report, tick = terminal()
    with reports_signals() as interrupt:
        wait = wait and not (no_wait_at_boot and system_is_starting())
        if files_only:
            from llmhop_generator.apply.run import put_files
            from llmhop_generator.parse.load import parse_config

            # Another run may have started the manager, and so this: it does not wait for that.
            with try_locked(report) as alone:
                if alone:
                    put_files(parse_config(data, config, judge_by(llmhop)), report)
            return
        with locked(lock_timeout, report):
            for path in STATE_FILES:
                discard_unfinished(path.parent, path.name)
            if is_up_to_date(data):
                report("nothing to do")
                return
            from llmhop_generator.apply.run import apply as bring_host
            from llmhop_generator.parse.load import parse_config

            done = bring_host(parse_config(data, config, judge_by(llmhop)), report, tick, wait=wait)
            interrupt.left = "every step was taken"
            if wait and not done.failed and not done.outdated:
                remember(data, done.wanted)
        if done.failed:
            from llmhop_generator.status.why import why_not_up

            fail(why_not_up(done.wanted, done.failed, done.left), EXIT_NOT_UP)


@main.command()
@reports_errors
def restore_routes() -> None:
    """Give llmhop, at boot, the routes that an `apply` was cut off before giving."""
    from llmhop_generator.apply.routes import restore_routes as give_back
    from llmhop_generator.host.lock import try_locked

    require_root("restore-routes")
    with try_locked(say) as alone:
        if alone:
            give_back(say)


@main.command()
@_json
@click.option("--watch", is_flag=True, help="Print it again every two seconds.")
@reports_errors
def status(for_programs: bool, watch: bool) -> None:
    """Show how the models on this host are."""
    from llmhop_generator.status.report import as_json
    from llmhop_generator.status.report import status as host_status

    while True:
        found = host_status()
        if watch:
            click.clear()
        if for_programs:
            say(as_json(found))
        else:
            _show_status(found)
        if not watch:
            return
        time.sleep(WATCH_S)


def _show_status(found: "Status") -> None:
    from llmhop_generator.cli import tables
    from llmhop_generator.status.report import HEAD, as_rows, remarks

    states = HEAD.index("STATE")
    tables.show(as_rows(found), has_head=True, colours=tables.STATES, coloured=states)
    say("\n".join(remarks(found)))


@main.command()
@click.argument("model", metavar="MODEL", shell_complete=_model_names)
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="How many lines to begin with.",
)
@click.option("--follow/--no-follow", default=True, help="Wait for more lines.")
@reports_errors
def logs(model: str, lines: int, follow: bool) -> None:
    """Show the journal of MODEL."""
    from llmhop_generator.host.systemd import may_read_journal
    from llmhop_generator.status.model_journal import journal_of

    if not may_read_journal():
        fail("the journal can't be read; run it as root, or as one of the group systemd-journal")
    become(journal_of(model, lines=lines, follow=follow))


main.add_command(evaluate)
