# Keys that a deployer adds to units reach systemd and the containers, as those of AMD's GPUs must.

import json


def report(port):
    return json.loads(machine.succeed(f"curl -fsS http://127.0.0.1:{port}/report"))


def groups(name):
    """The supplementary groups of a container's first process, by their numbers on the host."""
    environment = "HOME=/var/lib/vllm XDG_RUNTIME_DIR=/run/user/503"
    podman = f"runuser -u vllm -- env {environment} podman inspect -f '{{{{.State.Pid}}}}'"
    pid = machine.succeed(f"cd / && {podman} vllm-{name}").strip()
    return machine.succeed(f"sed -n 's/^Groups://p' /proc/{pid}/status").split()


def unit(name, key):
    return machine.get_unit_property(f"vllm-{name}.service", key, user="vllm")


machine.start()
machine.wait_for_unit("vllm-a.service", user="vllm")
machine.wait_for_unit("vllm-b.service", user="vllm")
one, two = report(18001), report(18002)

with subtest("a container has the groups that open a GPU, unless its model turns that off"):
    assert machine.succeed("stat -c '%a %U %G' /dev/gpu1") == "660 root video\n"
    video = machine.succeed("stat -c %g /dev/gpu1").strip()
    assert video in groups("a"), groups("a")
    assert video not in groups("b"), groups("b")

with subtest("a key that takes several values is added to, and can be emptied before"):
    assert {"/dev/gpu0", "/dev/gpu1"} <= set(one["devices"]), one["devices"]
    assert "/dev/gpu2" in two["devices"]
    assert not {"/dev/gpu0", "/dev/gpu1"} & set(two["devices"]), two["devices"]

with subtest("a key that takes one value is replaced"):
    assert (one["shm_bytes"], two["shm_bytes"]) == (64 * 2**20, 48 * 2**20)
    assert unit("a", "TimeoutStopUSec") == "1min 17s"

with subtest("variables of keys win over options, and hold what systemd expands"):
    assert one["environ"]["FROM_BOTH"] == "key"
    assert one["environ"]["FROM_OPTION"] == "option"
    assert one["environ"]["FROM_KEY"] == "a key of vllm-a"

with subtest("a model's keys win over the backend-wide ones"):
    assert unit("a", "MemoryMax") == str(3 * 2**30)
    assert unit("b", "MemoryMax") == str(2 * 2**30)
    assert unit("b", "TimeoutStopUSec") == "1min 17s"

with subtest("both lines of a list are there"):
    shown = unit("a", "Documentation")
    assert "man:vllm(1)" in shown and "https://docs.vllm.ai" in shown, shown

with subtest("the host is at what the configuration says"):
    machine.succeed("llmhop-generator diff /etc/llmhop/unit-keys.json")
