# Whatever of a model is killed or deleted, it comes back by itself, or the state says why not.

import json

STORAGE = "/var/lib/vllm/.local/share/containers/storage"


def podman(command):
    environment = "HOME=/var/lib/vllm XDG_RUNTIME_DIR=/run/user/503"
    return machine.succeed(f"cd / && runuser -u vllm -- env {environment} podman {command}")


def ids():
    listed = podman("ps --no-trunc --format '{{.Names}} {{.ID}}'")
    return dict(line.split() for line in listed.splitlines())


def unit(model, property):
    return machine.get_unit_property(f"vllm-{model}.service", property, user="vllm")


def comes_back(model, kill):
    """Kill something of a model: it serves again, in another container, and no other is new."""
    before, restarts = ids(), int(unit(model, "NRestarts"))
    machine.succeed(kill)
    machine.wait_until_succeeds(
        f"test $(systemctl --user -M vllm@.host show --value -p NRestarts vllm-{model}.service) "
        f"-gt {restarts}",
        timeout=60,
    )
    machine.wait_for_unit(f"vllm-{model}.service", user="vllm")
    assert json.loads(machine.succeed(f"chat {model} hello"))["model"] == model
    after = ids()
    assert after[f"vllm-{model}"] != before.get(f"vllm-{model}")
    others = {name for name in before if name != f"vllm-{model}"}
    assert {name: after.get(name) for name in others} == {name: before[name] for name in others}


def wipe_storage():
    # Health checks go on writing to it.
    machine.succeed(f"mv {STORAGE} {STORAGE}.gone", f"rm -rf {STORAGE}.gone")


def status():
    found = json.loads(machine.succeed("llmhop-generator status --json"))["models"]
    return {model["model"]: (model["state"], model["last_error"]) for model in found}


machine.start()
machine.wait_for_unit("vllm-b.service", user="vllm")

with subtest("a model whose engine is killed comes back"):
    comes_back("a", "pkill -9 -u vllm -f '^python3 .*serve m/a'")

with subtest("one whose conmon is killed comes back"):
    comes_back("a", f"kill -9 {unit('a', 'MainPID')}")

with subtest("one whose podman is killed while it starts is told of, and mended by an apply"):
    machine.succeed("systemctl --user -M vllm@.host stop vllm-a.service")
    machine.succeed("systemctl --user -M vllm@.host start --no-block vllm-a.service")
    # By then systemd watches conmon in place of it.
    main = "systemctl --user -M vllm@.host show -p MainPID --value vllm-a.service"
    machine.wait_until_succeeds(f"ps -o comm= -p $({main}) | grep -qx conmon", timeout=60)
    machine.succeed("pkill -9 -u vllm -f '^/usr/bin/podman run .*vllm-a'")
    state, error = status()["a"]
    assert state == "starting" and "its podman was killed while it started" in error, error
    told = machine.succeed("switch-to recovering")
    assert "stop vllm-a.service: its podman was killed while it started" in told, told

with subtest("all that the status says is that they are well"):
    assert status() == {"a": ("healthy", None), "b": ("healthy", None)}

# What a registry serves later; outside of the storage.
podman("push --quiet localhost/standin:v0.12.0 dir:/var/lib/vllm/registry")

with subtest("storage is wiped: what runs serves on, and the status says what it lacks"):
    wipe_storage()
    assert json.loads(machine.succeed("chat a hello"))["model"] == "a"
    state, error = status()["a"]
    assert state == "healthy" and "its container is gone" in error, error

with subtest("without image and registry it fails within the start limit, and the status says why"):
    machine.succeed(f"kill -9 {unit('a', 'MainPID')}")
    machine.wait_until_succeeds(
        "systemctl --user -M vllm@.host is-failed vllm-a.service", timeout=120
    )
    state, error = status()["a"]
    assert state == "failed" and "localhost/standin:v0.12.0 is not in" in error, error
    code, output = machine.execute("switch-to recovering 2>&1")
    assert code == 1 and "localhost/ is no registry to pull it from" in output, output
    assert status()["b"][0] == "healthy"

with subtest("a registry that has the image: a switch to it pulls, and then replaces and starts"):
    command = "python3 /etc/llmhop/registry.py /var/lib/vllm/registry 5000"
    machine.succeed(f"systemd-run --unit registry {command}")
    machine.wait_for_open_port(5000)
    told = machine.succeed("switch-to recovering-pulled").splitlines()
    steps = [line.split(":")[0] for line in told]
    assert steps.index("pull 127.0.0.1") < steps.index("stop vllm-b.service"), told
    assert status() == {"a": ("healthy", None), "b": ("healthy", None)}
    assert set(ids()) == {"vllm-a", "vllm-b"}

with subtest("storage is wiped once more: what is started again pulls its image by itself"):
    wipe_storage()
    comes_back("a", f"kill -9 {unit('a', 'MainPID')}")
    assert status()["a"] == ("healthy", None)

with subtest("a model whose container is gone is mended by a restart"):
    assert "restart it" in status()["b"][1]
    machine.succeed("systemctl --user -M vllm@.host restart vllm-b.service")
    assert status() == {"a": ("healthy", None), "b": ("healthy", None)}
    assert json.loads(machine.succeed("chat b hello"))["model"] == "b"

with subtest("a change that breaks the first model leaves the other one to serve as it was"):
    before = ids()
    code, output = machine.execute("switch-to recovering-broken 2>&1")
    assert code == 3 and "not up: vllm-a.service" in output, output
    assert "Left as they were: vllm-b.service" in output, output
    assert ids() == {"vllm-b": before["vllm-b"]}
    assert json.loads(machine.succeed("chat b hello"))["model"] == "b"

with subtest("the way back touches the broken one alone"):
    machine.succeed("switch-to recovering-pulled")
    assert ids()["vllm-b"] == before["vllm-b"]
    assert status() == {"a": ("healthy", None), "b": ("healthy", None)}
