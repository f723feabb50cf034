# llmhop finds each model where it is, after a failed batch and after a run that nobody waited for.

import json


def status(model):
    found = json.loads(machine.succeed("llmhop-generator status --json"))["models"]
    return next(each for each in found if each["model"] == model)


def systemctl(words):
    machine.succeed(f"systemctl --user -M vllm@.host {words}")


def serves(model):
    machine.wait_for_unit(f"vllm-{model}.service", user="vllm")
    assert json.loads(machine.succeed(f"chat {model} hello"))["model"] == model


def is_left_as_it_was():
    serves("b")
    found = status("b")
    assert (found["port"], found["earlier_unit"]) == (18002, True), found


machine.start(allow_reboot=True)
machine.wait_for_unit("vllm-b.service", user="vllm")

with subtest("a change that breaks one model leaves the next one its unit, port and route"):
    code, output = machine.execute("switch-to routes-broken 2>&1")
    assert code == 3 and "Left as they were: vllm-b.service" in output, output
    is_left_as_it_was()
    table = machine.succeed("llmhop-generator status")
    assert "b: it runs by another unit than the configuration asks for" in table, table

with subtest("it comes back as it was after a restart by hand"):
    systemctl("restart vllm-b.service")
    is_left_as_it_was()

with subtest("and after a crash"):
    restarts = "systemctl --user -M vllm@.host show --value -p NRestarts vllm-b.service"
    machine.succeed("pkill -9 -u vllm -f '^python3 .*serve m/b'")
    machine.wait_until_succeeds(f"test $({restarts}) -gt 0", timeout=60)
    is_left_as_it_was()

with subtest("and after a reboot"):
    machine.reboot()
    is_left_as_it_was()

with subtest("the broken one has a route, and serves once it is mended and restarted by hand"):
    asked = "curl -sS -D - -H 'Content-Type: application/json' -d '{\"model\": \"a\"}'"
    answer = machine.succeed(f"{asked} http://127.0.0.1:8080/v1/chat/completions")
    assert " 503 " in answer and "retry-after:" in answer.lower(), answer
    machine.succeed("echo STANDIN_FAIL_START=0 >/etc/vllm/a.env")
    systemctl("reset-failed vllm-a.service")
    systemctl("restart vllm-a.service")
    serves("a")

with subtest("the next switch moves the other one"):
    machine.succeed("switch-to routes-broken")
    serves("a")
    serves("b")
    found = status("b")
    assert (found["port"], found["earlier_unit"]) == (18012, False), found

with subtest("where nobody waits, a new model and a moved one are found once they are up"):
    machine.succeed("llmhop-generator apply --no-wait /etc/llmhop/routes-more.json")
    listed = json.loads(machine.succeed("curl -fsS http://127.0.0.1:8080/v1/models"))["data"]
    assert {model["id"] for model in listed} == {"a", "b", "c"}, listed
    serves("b")
    serves("c")
    assert status("b")["port"] == 18002

with subtest("and nothing is left to do"):
    assert machine.succeed("llmhop-generator diff /etc/llmhop/routes-more.json") == "no change\n"
