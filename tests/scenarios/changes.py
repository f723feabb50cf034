# One configuration after another: what changed is replaced, and what did not serves on.

import json


def ids():
    environment = "HOME=/var/lib/vllm XDG_RUNTIME_DIR=/run/user/503"
    command = "podman ps --no-trunc --format '{{.Names}} {{.ID}}'"
    listed = machine.succeed(f"cd / && runuser -u vllm -- env {environment} {command}")
    return dict(line.split() for line in listed.splitlines())


def served():
    listed = json.loads(machine.succeed("curl -fsS http://127.0.0.1:8080/v1/models"))
    return {model["id"] for model in listed["data"]}


machine.start()
machine.wait_for_unit("vllm-a.service", user="vllm")
machine.wait_for_unit("vllm-b.service", user="vllm")

with subtest("the same configuration again changes nothing"):
    before = ids()
    router = machine.get_unit_property("llmhop.service", "MainPID")
    machine.succeed("switch-to changes")
    assert ids() == before
    assert machine.get_unit_property("llmhop.service", "MainPID") == router

with subtest("a changed model is replaced, a new one comes, the other is not touched"):
    machine.succeed("switch-to changes-more")
    after = ids()
    assert after["vllm-a"] == before["vllm-a"]
    assert after["vllm-b"] != before["vllm-b"]
    assert served() == {"a", "b", "c"}
    report = json.loads(machine.succeed("curl -fsS http://127.0.0.1:18002/report"))
    assert "--seed=1" in report["argv"]
    for name in ("a", "b", "c"):
        assert json.loads(machine.succeed(f"chat {name} hello"))["model"] == name

with subtest("llmhop took the new routes without a restart"):
    assert machine.get_unit_property("llmhop.service", "MainPID") == router

with subtest("a removed model goes with its unit and its route"):
    machine.succeed("switch-to changes-fewer")
    assert served() == {"a", "c"}
    assert "vllm-b" not in machine.succeed("systemctl --user -M vllm@.host list-unit-files")

with subtest("nor is one touched that only moved in the start order"):
    assert ids() == {name: after[name] for name in ("vllm-a", "vllm-c")}

with subtest("a model that was stopped by hand comes back with the next switch"):
    machine.succeed("systemctl --user -M vllm@.host stop vllm-c.service")
    status = json.loads(machine.succeed("llmhop-generator status --json"))
    assert [model["state"] for model in status["models"]] == ["healthy", "stopped"], status
    machine.succeed("switch-to changes-fewer")
    assert set(ids()) == {"vllm-a", "vllm-c"}

with subtest("switched off, nothing is left running"):
    machine.succeed("switch-to changes-off")
    assert ids() == {}
    machine.fail("systemctl is-active llmhop.service")
    machine.wait_for_closed_port(8080)
