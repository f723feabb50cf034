# A model that can't start trips its start limit, is told of, and does not hold up the others.

import json

machine.start()

with subtest("the switch ends with a code and a message that name the model"):
    code, output = machine.execute("switch-to failing 2>&1")
    assert code == 3, (code, output)
    assert "not up: vllm-bad.service" in output, output
    assert "good: healthy" in output, output
    assert "llmhop-generator logs bad" in output, output

with subtest("the switch says at once that it fails, and why, in the engine's own words"):
    said = "standin: told to fail by STANDIN_FAIL_START"
    at_once = f"bad: failed in the same way twice, and systemd goes on trying: {said}"
    assert at_once in output.splitlines(), output
    assert output.index(at_once) < output.index("good: starting"), output
    assert f"vllm-bad.service: {said}" in output.splitlines(), output
    assert "conmon" not in output, output

with subtest("the start limit tripped"):
    assert machine.get_unit_property("vllm-bad.service", "ActiveState", user="vllm") == "failed"
    assert int(machine.get_unit_property("vllm-bad.service", "NRestarts", user="vllm")) >= 2

with subtest("the status says how each model is"):
    status = json.loads(machine.succeed("llmhop-generator status --json"))
    states = {model["model"]: model["state"] for model in status["models"]}
    assert states == {"bad": "failed", "good": "healthy", "hangs": "healthy"}, states
    assert status["llmhop"]["state"] == "active", status
    assert status["llmhop"]["says"].startswith("serves 3 models"), status
    good = next(model for model in status["models"] if model["model"] == "good")
    assert good["port"] == 18002
    assert good["image"] == "localhost/standin:v0.12.0"
    assert len(good["image_id"]) == 12
    assert good["image_digest"].startswith("sha256:"), good
    bad = next(model for model in status["models"] if model["model"] == "bad")
    assert bad["last_error"] == said, bad
    table = machine.succeed("llmhop-generator status").splitlines()
    assert table[0].split()[:3] == ["MODEL", "STATE", "UP"]
    assert len(table) >= 5, table

with subtest("the logs of a model are those of its container"):
    shown = machine.succeed("llmhop-generator logs good --no-follow -n 1000")
    assert "standin: serving m/b" in shown, shown
    code, refused = machine.execute("llmhop-generator logs goot --no-follow 2>&1")
    assert (code, "did you mean good?" in refused) == (1, True), refused

with subtest("the model after it waited for the last try"):
    tried = machine.get_unit_property(
        "vllm-bad.service", "InactiveEnterTimestampMonotonic", user="vllm"
    )
    started = machine.get_unit_property(
        "vllm-good.service", "InactiveExitTimestampMonotonic", user="vllm"
    )
    assert 0 < int(tried) <= int(started), (tried, started)

with subtest("the other model serves, and the failed one is a clear error"):
    assert json.loads(machine.succeed("chat good hello"))["model"] == "good"
    refused = machine.execute(
        "curl -sS -H 'Content-Type: application/json' -d '{\"model\": \"bad\"}' "
        "-w '\\n%{http_code}' http://127.0.0.1:8080/v1/chat/completions"
    )[1]
    body, status = refused.rsplit("\n", 1)
    assert status == "503", refused
    assert json.loads(body)["error"]["message"], refused

with subtest("a check of health that succeeds writes no event"):
    events = "journalctl -b -o cat PODMAN_EVENT=health_status"
    machine.succeed("systemctl --user -M vllm@.host show-environment | grep -q CONTAINERS_CONF")
    assert machine.succeed(events) == ""

with subtest("an engine that hangs after it was healthy is killed and started again"):
    machine.wait_until_succeeds(
        "test $(systemctl --user -M vllm@.host show --value -p NRestarts vllm-hangs.service) -ge 1",
        timeout=180,
    )
    machine.wait_for_unit("vllm-hangs.service", user="vllm")
    assert json.loads(machine.succeed("chat hangs hello"))["model"] == "hangs"

with subtest("checks of health that failed were told"):
    checks = "[0-9a-f]{64}-[0-9a-f]+.service: Failed with result"
    assert int(machine.succeed(f"journalctl -b -o cat _UID=503 | grep -cE '{checks}'")) >= 3

with subtest("the report of readiness comes from a child of systemd, so that it can't be lost"):
    # The first podman of a user after boot makes the user's namespace, and works in a child of
    # its own there; ended, such a child leaves systemd a report that it can't tell whose it is.
    machine.succeed("systemctl --user -M vllm@.host stop vllm-hangs.service vllm-good.service")
    machine.succeed("kill -9 $(cat /run/user/503/libpod/tmp/pause.pid)")
    machine.succeed("rm /run/user/503/libpod/tmp/pause.pid")
    machine.succeed("systemctl --user -M vllm@.host start --no-block vllm-hangs.service")
    machine.wait_until_succeeds("pgrep -u vllm -f 'conmon .* -n vllm-hangs '", timeout=60)
    manager = machine.succeed("systemctl show --value -p MainPID user@503.service").strip()
    # It has children that end soon.
    parents = "ps -o ppid= -p $(pgrep -u vllm -d, -f '/podman run .*vllm-hangs')"
    machine.wait_until_succeeds(f"test $({parents}) = {manager}", timeout=30)
    machine.wait_for_unit("vllm-hangs.service", user="vllm")
