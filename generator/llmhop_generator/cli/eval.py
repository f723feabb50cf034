"""The command `llmhop-generator eval`."""

import json
import os
import signal
import sys
from contextlib import closing
from pathlib import Path

import click

from llmhop_generator.cli.exits import EXIT_ERROR, fail, reports_errors
from llmhop_generator.cli.messages import use_nixos_names, write
from llmhop_generator.cli.options import llmhop_option
from llmhop_generator.cli.terminal import terminal
from llmhop_generator.router.check import judge_by

MAX_WORKERS = 4
MAX_MEMORY_MIB = 4096


def _default_workers() -> int:
    return min(os.cpu_count() or 1, MAX_WORKERS)


def _addresses(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for host, _, url in pairs:
        if not host or not url.startswith(("http://", "https://")):
            raise click.BadParameter("write HOST=URL, such as gpu1=http://10.0.0.5:8080")
    return {host: url for host, _, url in pairs}


def _flake(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if "#" in value:
        raise click.BadParameter("leave out what begins with #; it is nixosConfigurations")
    if value.startswith("-") or not value:
        raise click.BadParameter("give a flake reference, such as . or github:OWNER/REPOSITORY")
    return value


@click.command("eval")
@click.argument("flake", metavar="FLAKE", callback=_flake)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=1),
    default=_default_workers,
    show_default=f"one for each CPU, {MAX_WORKERS} at most",
    help="How many processes evaluate side by side.",
)
@click.option(
    "--max-memory-size",
    metavar="MIB",
    type=click.IntRange(min=1),
    default=MAX_MEMORY_MIB,
    show_default=True,
    help="A process that uses more is started anew after a host.",
)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write each host's CONFIG to DIR/HOST.json, and no lines.",
)
@click.option("--report", is_flag=True, help="Print a report over all hosts.")
@click.option("--compare", metavar="REV", help="Print what differs from the flake at REV.")
@click.option("--front", is_flag=True, help="Print an llmhop in front of all hosts.")
@click.option(
    "--address",
    "addresses",
    metavar="HOST=URL",
    multiple=True,
    callback=_addresses,
    help="With --front: where HOST's llmhop is reached.",
)
@llmhop_option
@reports_errors
def evaluate(
    flake: str,
    llmhop: str,
    workers: int,
    max_memory_size: int,
    output: Path | None,
    report: bool,
    compare: str | None,
    front: bool,
    addresses: dict[str, str],
) -> None:
    """Evaluate every NixOS host of FLAKE, and print each one's CONFIG as a line of JSON.

    nix-eval-jobs does so in parallel; where it is missing, nix eval host by host. Exit
    codes: 0 every host was evaluated, 1 one or more failed (the others' lines and files
    are there), 2 wrong usage, 130 interrupted.
    """
    if [report, compare is not None, front].count(True) > 1:
        raise click.UsageError("--report, --compare and --front exclude each other")
    if addresses and not front:
        raise click.UsageError("--address belongs to --front")
    use_nixos_names(click.get_current_context(), always=True)
    from llmhop_generator.fleet import compare as fleet_compare
    from llmhop_generator.fleet import front as fleet_front
    from llmhop_generator.fleet import report as fleet_report
    from llmhop_generator.fleet.evaluation import Evaluation, earlier, write_file
    from llmhop_generator.fleet.hosts import Failed, Host, Result, as_line, filter_by_type

    # A run that is told to end takes Nix with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    evaluation = Evaluation(workers, max_memory_size, judge_by(llmhop), *terminal(err=True))
    before: list[Result] = []
    results: list[Result] = []
    failures: list[str] = []
    try:
        if compare is not None:
            before += evaluation.results(earlier(flake, compare))
        # Closed, so that also an error here ends Nix.
        with closing(evaluation.results(flake)) as found:
            for result in found:
                if isinstance(result, Failed):
                    failures.append(result.name)
                if output:
                    write_file(output, result)
                if report or front or compare is not None:
                    results.append(result)
                elif not output:
                    write(f"{as_line(result)}\n")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    if report:
        from llmhop_generator.cli import tables

        tables.show(fleet_report.as_rows(results), has_head=True)
        for section in fleet_report.sections(results):
            write(f"\n{section}\n")
    if compare is not None:
        failures += [failed.name for failed in filter_by_type(before, Failed)]
        write(f"{fleet_compare.as_text(before, results)}\n")
    if front:
        if failures:
            failed = ", ".join(sorted(failures))
            fail(f"nothing is printed, as it would lack hosts that failed: {failed}")
        settings = fleet_front.front(filter_by_type(results, Host), addresses)
        write(json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
    if failures:
        sys.exit(EXIT_ERROR)
