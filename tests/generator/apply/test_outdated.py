"""A host that was provisioned by an earlier version is told of by each run until it is mended."""

import json
from pathlib import Path

import pytest

from tests.generator.support.private_host import PrivateHost, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

CONFIG = {
    "version": 1,
    "llmhop": {"enable": True, "settings": {"models": {"far": {"url": "http://127.0.0.1:9"}}}},
}


def test_what_an_earlier_version_provisioned_is_told_until_provision_runs(
    tmp_path: Path,
) -> None:
    host = PrivateHost(tmp_path)
    host.put("etc/passwd", "root:x:0:0::/root:/bin/sh\nllmhop:x:0:0::/:/bin/false\n")
    host.put("etc/group", "root:x:0:\nllmhop:x:0:\n")
    assert host.run("provision", config=CONFIG).returncode == 0
    unit = "etc/systemd/system/llmhop.service"
    host.put(unit, host.read(unit).replace("WatchdogSec=30", "WatchdogSec=31"))
    note = (
        f"/{unit}: written by `provision` for another configuration, or by an earlier llmhop; "
        "run `llmhop-generator provision CONFIG` before the next boot"
    )
    done = host.run("check", "--json", config=CONFIG)
    assert (done.returncode, json.loads(done.stdout)["notes"]) == (0, [note]), done.stderr
    done = host.run("check", config=CONFIG)
    assert done.stdout == f"{note}\nthis host is ready\n"
    assert host.run("diff", config=CONFIG).stderr == f"warning: {note}\n"
    for _ in range(2):
        assert f"warning: {note}\n" in host.run("apply", config=CONFIG).stdout
    host.run("provision", config=CONFIG)
    for command in ("check", "apply", "diff"):
        done = host.run(command, config=CONFIG)
        assert "provision" not in done.stdout + done.stderr
