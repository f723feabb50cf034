"""Which paths a user can reach, tested as that user."""

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from llmhop_generator.errors import Finding
from llmhop_generator.host.process import Account, run

_TEST = 'while [ $# -gt 0 ]; do test "$1" "$2" || printf "%s\\n" "$3"; shift 3; done'


def access_findings(account: Account, tests: list[tuple[str, str, Finding]]) -> Iterator[Finding]:
    """Run tests of test(1) as a user, in one process; give the findings of those that fail.

    Where it is a directory above that the user can't pass, a finding tells of that one.
    """
    for number in _failed(account, [(flag, path) for flag, path, _ in tests]):
        _, path, finding = tests[number]
        above = [str(each) for each in reversed(Path(path).parents) if each.is_dir()]
        if closed := _failed(account, [("-x", each) for each in above]):
            directory = above[closed[0]]
            yield replace(
                finding,
                what=f"{path} is below {directory}, which the models' user can't pass; let it in, "
                f"by `chmod o+x {shlex.quote(directory)}`, or choose another path",
            )
        else:
            yield finding


def _failed(account: Account, tests: list[tuple[str, str]]) -> list[int]:
    words = [word for i, (flag, path) in enumerate(tests) for word in (flag, path, str(i))]
    done = run(["/bin/sh", "-c", _TEST, "sh", *words], account=account)
    return [int(line) for line in done.stdout.split()]
