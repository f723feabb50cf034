# A busy day: 100 streams run while a model is added, workers end and llmhop is restarted.

import json

CROWD = "systemd-run --property RemainAfterExit=yes --property StandardOutput=file:/root/{0}.json"

SUPERVISOR = "systemctl show -p MainPID --value llmhop.service"
TWO_WORKERS = f"test $(pgrep -c -P $({SUPERVISOR})) -eq 2"
# Counts llmhop's connections to the models.
CONNECTIONS = "ss -Htn state established '( dport = 18001 or dport = 18002 )' | wc -l"


def begin(name, models):
    """Start 100 streams of some ten seconds, and wait until they flow."""
    machine.succeed(f"{CROWD.format(name)} --unit {name} streams 100 40 0.25 {models}")
    machine.wait_until_succeeds(f"test $({CONNECTIONS}) -ge 100", timeout=60)


def end(name):
    """Wait for the end of the streams and give what their clients saw."""
    machine.wait_until_succeeds(
        f"systemctl show -p SubState --value {name}.service | grep -qx exited", timeout=120
    )
    assert machine.get_unit_property(f"{name}.service", "Result") == "success"
    return json.loads(machine.succeed(f"cat /root/{name}.json"))


def workers():
    """The processes of llmhop's workers."""
    return machine.succeed(f"pgrep -P $({SUPERVISOR})").split()


def served():
    listed = json.loads(machine.succeed("curl -fsS http://127.0.0.1:8080/v1/models"))
    return {model["id"] for model in listed["data"]}


machine.start()
machine.wait_for_unit("vllm-a.service", user="vllm")
machine.wait_for_unit("vllm-b.service", user="vllm")
machine.wait_for_unit("llmhop.service")
assert len(workers()) == 2

with subtest("a new model comes while 100 streams run, and none is cut"):
    begin("reload", "a b")
    machine.succeed("switch-to busy-more")
    assert served() == {"a", "b", "c"}
    assert json.loads(machine.succeed("chat c hello"))["model"] == "c"
    saw = end("reload")
    assert (saw["whole"], saw["broken"], saw["errors"]) == (100, 0, {}), saw
    assert saw["answered"] > 0, saw

with subtest("a worker that is told to end ends its streams first, and another takes its place"):
    begin("worker", "a b")
    before = workers()
    machine.succeed(f"kill {before[0]}")
    saw = end("worker")
    assert (saw["whole"], saw["broken"], saw["errors"]) == (100, 0, {}), saw
    machine.wait_until_succeeds(f"! kill -0 {before[0]}", timeout=60)
    machine.wait_until_succeeds(TWO_WORKERS, timeout=60)
    assert before[0] not in workers() and before[1] in workers()

with subtest("a worker that is killed takes its own streams along, and says so to their clients"):
    begin("killed", "a b")
    killed = workers()[0]
    machine.succeed(f"kill -9 {killed}")
    saw = end("killed")
    # No stream ends short and looks whole: `streams` itself would fail.
    assert saw["whole"] + saw["broken"] == 100, saw
    assert saw["whole"] > 0, saw
    assert saw["answered"] > 0, saw
    machine.wait_until_succeeds(TWO_WORKERS, timeout=60)

with subtest("no stream that its client lost goes on at the model"):
    machine.wait_until_succeeds(f"test $({CONNECTIONS}) -eq 0", timeout=60)

with subtest("a restart lets the streams end, and keeps new clients waiting, not refused"):
    begin("restart", "a b")
    router = machine.get_unit_property("llmhop.service", "MainPID")
    machine.succeed("systemctl restart llmhop.service")
    assert machine.get_unit_property("llmhop.service", "MainPID") != router
    saw = end("restart")
    assert (saw["whole"], saw["broken"], saw["errors"]) == (100, 0, {}), saw
    assert json.loads(machine.succeed("chat b hello"))["model"] == "b"

with subtest("the service is confined"):
    machine.succeed("systemd-analyze security --threshold=15 llmhop.service")
