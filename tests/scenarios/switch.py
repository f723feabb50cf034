# From one generation to another and back: what changed is replaced, the rest does not notice.

import json

STREAMS = "--unit {0} --property RemainAfterExit=yes --property StandardOutput=file:/root/{0}.json"


def containers():
    environment = "HOME=/var/lib/vllm XDG_RUNTIME_DIR=/run/user/503"
    command = "podman ps --no-trunc --format '{{.Names}} {{.ID}}'"
    listed = machine.succeed(f"cd / && runuser -u vllm -- env {environment} {command}")
    return dict(line.split() for line in listed.splitlines())


def served():
    listed = json.loads(machine.succeed("curl -fsS http://127.0.0.1:8080/v1/models"))
    return {model["id"] for model in listed["data"]}


def arguments(port):
    return json.loads(machine.succeed(f"curl -fsS http://127.0.0.1:{port}/report"))["argv"]


machine.start()
for name in ("a", "b"):
    machine.wait_for_unit(f"vllm-{name}.service", user="vllm")
machine.wait_for_unit("llmhop.service")
before = containers()
router = machine.get_unit_property("llmhop.service", "MainPID")
assert before.keys() == {"vllm-a", "vllm-b"}
assert served() == {"a", "b", "far"}

with subtest("a stream of the unchanged model goes on while the other is replaced"):
    machine.succeed(f"systemd-run {STREAMS.format('stream')} streams 3 30 0.5 a")
    machine.wait_until_succeeds("ss -Htn state established '( dport = 18001 )' | grep -q .")
    machine.succeed("switch-to switch-changed")
    after = containers()
    assert after["vllm-a"] == before["vllm-a"]
    assert after["vllm-b"] != before["vllm-b"]
    assert after.keys() == {"vllm-a", "vllm-b", "vllm-c"}
    machine.wait_until_succeeds(
        "systemctl show -p SubState --value stream.service | grep -qx exited", timeout=120
    )
    saw = json.loads(machine.succeed("cat /root/stream.json"))
    assert (saw["whole"], saw["broken"], saw["errors"]) == (3, 0, {}), saw

with subtest("the changed model runs with its new settings, and llmhop has every route"):
    assert "--seed=1" in arguments(18002)
    assert served() == {"a", "b", "c", "far"}
    for name in ("a", "b", "c"):
        assert json.loads(machine.succeed(f"chat {name} hello"))["model"] == name

with subtest("llmhop took the routes without a restart"):
    assert machine.get_unit_property("llmhop.service", "MainPID") == router

with subtest("the way back is a switch like any other"):
    machine.succeed("switch-to switch")
    back = containers()
    assert back.keys() == {"vllm-a", "vllm-b"}
    assert back["vllm-a"] == before["vllm-a"]
    assert "--seed=1" not in arguments(18002)
    assert served() == {"a", "b", "far"}

with subtest("where vLLM is turned off its models go, and llmhop serves what is elsewhere"):
    machine.succeed("switch-to switch-off")
    machine.wait_until_fails("curl -fsS http://127.0.0.1:18001/health", timeout=60)
    machine.fail("curl -fsS http://127.0.0.1:18002/health")
    machine.fail("ls /etc/containers/systemd/users/503/llmhop/*.container")
    assert served() == {"far"}

with subtest("and they come back"):
    machine.succeed("switch-to switch")
    for name in ("a", "b"):
        machine.wait_for_unit(f"vllm-{name}.service", user="vllm")
        assert json.loads(machine.succeed(f"chat {name} hello"))["model"] == name
