# What the containers and the router may do on the host, and who may change what they do.

CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def status(pid):
    """The fields of /proc/PID/status."""
    lines = machine.succeed(f"cat /proc/{pid}/status").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def container_pid(name):
    environment = "HOME=/var/lib/vllm XDG_RUNTIME_DIR=/run/user/503"
    podman = f"runuser -u vllm -- env {environment} podman inspect -f '{{{{.State.Pid}}}}'"
    return machine.succeed(f"cd / && {podman} vllm-{name}").strip()


machine.start()
for name in ("a", "b"):
    machine.wait_for_unit(f"vllm-{name}.service", user="vllm")
machine.wait_for_unit("llmhop.service")

with subtest("a model is a process of the user without any capability"):
    for name in ("a", "b"):
        process = status(container_pid(name))
        assert process["Uid"].split() == ["503"] * 4, process
        assert process["NoNewPrivs"] == "1", process
        assert [int(process[key], 16) for key in CAPABILITIES] == [0] * 5, process
        assert process["Seccomp"] == "2", process

with subtest("a container's ids are the user and the configured range, whatever else it has"):
    for name in ("a", "b"):
        for kind in ("uid", "gid"):
            lines = machine.succeed(f"cat /proc/{container_pid(name)}/{kind}_map").splitlines()
            found = [[int(number) for number in line.split()] for line in lines]
            assert found == [[0, 503, 1], [1, 300000, 65536]], found

with subtest("a model sees neither the host's processes nor the other model's"):
    own, other = (
        machine.succeed(f"readlink /proc/{container_pid(name)}/ns/pid") for name in ("a", "b")
    )
    host = machine.succeed("readlink /proc/1/ns/pid")
    assert len({own, other, host}) == 3

with subtest("models are published to the host itself only"):
    for port in (18001, 18002):
        listening = machine.succeed(f"ss -Hltn 'sport = :{port}'").split()
        assert listening[3] == f"127.0.0.1:{port}", listening
        assert len(listening) == 5, listening

with subtest("the user can't change how its containers start"):
    for path in ("", "/vllm-a.container"):
        machine.fail(f"runuser -u vllm -- test -w /etc/containers/systemd/users/503/llmhop{path}")
    machine.fail("runuser -u vllm -- test -w /var/lib/llmhop")

with subtest("nobody else reads the models' data or llmhop's configuration"):
    machine.fail("runuser -u nobody -- ls /var/lib/vllm")
    machine.fail("runuser -u nobody -- ls /var/cache/vllm")
    machine.fail("runuser -u nobody -- cat /var/lib/llmhop/llmhop.json")
    machine.fail("runuser -u vllm -- cat /var/lib/llmhop/llmhop.json")

with subtest("llmhop is a user of its own without any capability, and confined"):
    process = status(machine.get_unit_property("llmhop.service", "MainPID"))
    assert "0" not in process["Uid"].split(), process
    assert "503" not in process["Uid"].split(), process
    assert process["NoNewPrivs"] == "1", process
    assert [int(process[key], 16) for key in CAPABILITIES] == [0] * 5, process
    machine.succeed("systemd-analyze security --threshold=15 llmhop.service")
