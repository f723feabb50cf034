# What was served is served again, by itself and in order, however the host went down.

import json
import shlex


def serves_again():
    for name in ("a", "b"):
        machine.wait_for_unit(f"vllm-{name}.service", user="vllm")
    machine.wait_for_unit("llmhop.service")
    healthy = machine.get_unit_property(
        "vllm-a.service", "ActiveEnterTimestampMonotonic", user="vllm"
    )
    started = machine.get_unit_property(
        "vllm-b.service", "InactiveExitTimestampMonotonic", user="vllm"
    )
    assert 0 < int(healthy) <= int(started), (healthy, started)
    for name in ("a", "b"):
        assert json.loads(machine.succeed(f"chat {name} hello"))["model"] == name


machine.start(allow_reboot=True)
machine.wait_for_unit("vllm-b.service", user="vllm")
volume = "/var/lib/vllm/.local/share/containers/storage/volumes/vllm-a-cache/_data"
machine.succeed(f"runuser -u vllm -- sh -c 'echo compiled > {volume}/kept'")

with subtest("after a reboot"):
    machine.reboot()
    serves_again()

with subtest("after a power failure, also in the middle of an apply that had taken a route out"):
    config = "/var/lib/llmhop/llmhop.json"
    whole = machine.succeed(f"cat {config}")
    routes = json.loads(whole)["models"]
    given = json.dumps(json.loads(whole) | {"models": {"b": routes["b"]}})
    ports = {f"vllm-{name}.container": int(e["url"].split(":")[2]) for name, e in routes.items()}
    uid = int(machine.succeed("id -u vllm"))
    left = {"given": [given], "router": whole, "uid": uid, "ports": ports}
    for path, text in {config: given, "/var/lib/llmhop/unfinished.json": json.dumps(left)}.items():
        machine.succeed(f"printf %s {shlex.quote(text)} >{path}")
    # What no write has reached the disk by is not what this is about.
    machine.succeed("sync")
    machine.crash()
    machine.start(allow_reboot=True)
    serves_again()

with subtest("what a model compiled is still there"):
    assert machine.succeed(f"cat {volume}/kept") == "compiled\n"
