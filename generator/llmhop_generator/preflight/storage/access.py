"""Which paths a user can reach, tested as that user."""

from collections.abc import Iterator

from llmhop_generator.errors import Finding
from llmhop_generator.host.process import Account, run

_TEST = 'while [ $# -gt 0 ]; do test "$1" "$2" || printf "%s\\n" "$3"; shift 3; done'


def access_findings(account: Account, tests: list[tuple[str, str, Finding]]) -> Iterator[Finding]:
    """Run tests of test(1) as a user, in one process; give the findings of those that fail."""
    words = [w for i, (flag, path, _) in enumerate(tests) for w in (flag, path, str(i))]
    for line in run(["/bin/sh", "-c", _TEST, "sh", *words], account=account).stdout.split():
        yield tests[int(line)][2]
