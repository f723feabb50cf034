"""llmhop's secrets are checked as its service reads them, with what its unit says of that."""

import json
from itertools import pairwise
from typing import Any

import pytest
from llmhop_generator.host.process import Finished
from llmhop_generator.preflight.router import secrets as host_secrets

UNIT = """\
# /etc/systemd/system/llmhop.service
[Unit]
Description=llmhop
User=nobody
[Service]
ExecStart="/opt/my llmhop/bin/llmhop" --config /var/lib/llmhop/llmhop.json
User=llmhop
Restart=always
; Group=wheel
[Install]
WantedBy=multi-user.target

# /etc/systemd/system/llmhop.service.d/secrets.conf
[Service]
LoadCredential=
LoadCredential = a:/etc/a \\
  b:/etc/b
Environment="A=b c" D=e
"""


class Host:
    """A host whose llmhop.service and whose answer to systemd-run are the test's."""

    unit = UNIT
    answer = Finished(0, '{"problems": []}', "")
    command: list[str]
    stdin = ""

    def run(self, command: list[str], *, stdin: str, check: bool) -> Finished:
        assert not check
        self.command, self.stdin = list(command), stdin
        return self.answer

    def findings(self) -> list[str]:
        self.command = []
        return list(map(str, host_secrets.secret_findings("{}")))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(host_secrets, "system", lambda *_: Finished(0, host.unit, ""))
    monkeypatch.setattr(host_secrets, "run", host.run)
    return host


def test_it_runs_as_the_service_would(host: Host) -> None:
    assert host.findings() == []
    properties = [word for before, word in pairwise(host.command) if before == "-p"]
    assert properties == [
        "User=llmhop",
        "LoadCredential=",
        "LoadCredential=a:/etc/a    b:/etc/b",
        'Environment="A=b c" D=e',
    ]
    assert host.command[-1] == "/opt/my llmhop/bin/llmhop"
    assert "--check --json" in host.command[-2]
    assert host.stdin == "{}"


PROBLEM = {"path": ["authTokens", 0], "where": "", "what": "no /run/credentials/u1/a", "todo": "x"}


def test_what_llmhop_finds_is_told_by_its_option(host: Host) -> None:
    problem = {
        "path": ["authTokens", 0],
        "where": "",
        "what": "no /run/credentials/u1/a",
        "todo": "x",
    }
    host.answer = Finished(1, json.dumps({"problems": [problem]}), "")
    assert host.findings() == [
        "services.llmhop.settings.authTokens[0]: no /run/credentials/llmhop.service/a; x"
    ]


@pytest.mark.parametrize(
    ("code", "key"),
    [(126, "ExecStart"), (127, "ExecStart"), (217, "User"), (243, "LoadCredential")],
)
def test_a_service_that_could_not_start_is_told(code: int, key: str, host: Host) -> None:
    host.answer = Finished(code, "", "")
    [finding] = host.findings()
    assert finding.startswith("services.llmhop.enable: llmhop.service ")
    assert f"{key}=" in finding


@pytest.mark.parametrize(
    "changes",
    [
        {"unit": UNIT.replace("/etc/a", "%d/a")},
        {"unit": UNIT.replace("/opt/my llmhop", "%h")},
        {"unit": UNIT.replace("ExecStart", "ExecStop")},
        {"answer": Finished(1, "", "Failed to start transient service unit: Access denied")},
        {"answer": Finished(2, "Usage: llmhop", "")},
    ],
)
def test_where_it_can_not_be_sure_nothing_is_found(changes: dict[str, Any], host: Host) -> None:
    host.answer = Finished(1, json.dumps({"problems": [PROBLEM]}), "")
    for name, value in changes.items():
        setattr(host, name, value)
    assert host.findings() == []
