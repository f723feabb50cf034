# Every documented option, checked by what arrives inside the containers.

import json


def report(port):
    return json.loads(machine.succeed(f"curl -fsS http://127.0.0.1:{port}/report"))


def mount(report, target):
    return next(m for m in reversed(report["mounts"]) if m["target"] == target)


def podman(command):
    environment = "HOME=/var/lib/vllm XDG_RUNTIME_DIR=/run/user/503"
    return machine.succeed(f"cd / && runuser -u vllm -- env {environment} podman {command}")


machine.start()
first, second = "vllm-qwen3.6-35b-a3b.service", "vllm-renamed.service"
machine.wait_for_unit(first, user="vllm")
machine.wait_for_unit(second, user="vllm")
one, two = report(18001), report(18002)

with subtest("the command line is what the settings say"):
    assert one["argv"][1:] == [
        "serve",
        "Qwen/Qwen3.6-35B-A3B",
        "--host=0.0.0.0",
        "--port=8000",
        "--served-model-name=qwen3.6-35b-a3b",
        "--enforce-eager",
        "--gpu-memory-utilization=0.9",
        '--limit-mm-per-prompt={"image": {"count": 1}, "audio": 0}',
        "--max-model-len=128K",
        "--lora-modules",
        "a=/a",
        "b=/b",
        "--no-enable-prefix-caching",
        "--seed=2",
        '--speculative-config={"model":"draft","num_speculative_tokens":4}',
    ], one["argv"]

with subtest("one unit text serves images with either entrypoint"):
    assert one["argv"][0] == two["argv"][0] == "/usr/local/bin/vllm"
    assert two["argv"][1:3] == ["serve", "/models/local"]
    assert "--served-model-name=renamed" in two["argv"]
    assert not any(word.startswith("--gpu-memory") for word in two["argv"])

with subtest("a model's variables and file win over the backend-wide ones"):
    wanted = {"BACKEND": "backend", "BOTH": "model", "MODEL": "model"}
    wanted |= {"FROM_BACKEND": "backend file", "FROM_BOTH": "model file"}
    assert wanted.items() <= one["environ"].items(), one["environ"]
    assert two["environ"]["BOTH"] == "backend"
    assert two["environ"]["FROM_BOTH"] == "backend file"

with subtest("container root is the user, and the rest is the subordinate range"):
    assert one["uid"] == one["gid"] == 0
    # As the host sees it; a container sees the ids of the user's Podman.
    pid = podman("inspect -f '{{.State.Pid}}' vllm-renamed").strip()
    uids, gids = (machine.succeed(f"cat /proc/{pid}/{kind}_map").split() for kind in ("uid", "gid"))
    assert uids == ["0", "503", "1", "1", "300000", "65536"], uids
    assert gids == ["0", "504", "1", "1", "400000", "60000"], gids

with subtest("no capability and no new privilege is left"):
    assert one["status"]["NoNewPrivs"] == "1"
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(one["status"][kind], 16) == 0, one["status"]

with subtest("the open files limit reaches the process, above what user managers have here"):
    assert one["rlimits"]["nofile"] == {"soft": 16384, "hard": 16384}, one["rlimits"]
    assert "4096" in machine.succeed("systemctl show -p DefaultLimitNOFILE")

with subtest("shared memory has its size"):
    assert one["shm_bytes"] == 64 * 2**20, one["shm_bytes"]
    assert two["shm_bytes"] == 32 * 2**30, two["shm_bytes"]

with subtest("/tmp is a tmpfs from which compiled code can be loaded"):
    tmp = mount(one, "/tmp")
    assert tmp["fstype"] == "tmpfs"
    assert {"nosuid", "nodev"} <= set(tmp["options"])
    assert "noexec" not in tmp["options"]

with subtest("the model cache is the host's directory, shared by all"):
    for each in (one, two):
        assert mount(each, "/root/.cache/huggingface")["root"].endswith("/srv/hugging\\040face")
    assert machine.succeed("stat -c %u:%g '/srv/hugging face'") == "503:504\n"

with subtest("a model has its own devices or the backend's"):
    assert "/dev/gpu0" in one["devices"]
    assert "/dev/gpu0" not in two["devices"]

with subtest("ports are published on loopback only"):
    for port in (18001, 18002):
        listening = machine.succeed(f"ss -Hltn 'sport = :{port}'").split()
        assert listening[3] == f"127.0.0.1:{port}", listening
        assert len(listening) == 5, listening

with subtest("a disabled model is not there"):
    assert "vllm-off" not in machine.succeed("ls /etc/containers/systemd/users/503/llmhop/")

with subtest("the second model starts when the first is healthy"):
    healthy = machine.get_unit_property(first, "ActiveEnterTimestampMonotonic", user="vllm")
    started = machine.get_unit_property(second, "InactiveExitTimestampMonotonic", user="vllm")
    assert 0 < int(healthy) <= int(started), (healthy, started)

with subtest("what was compiled is kept across restarts"):
    podman("exec vllm-renamed sh -c 'mkdir -p ~/.cache/vllm && echo kept > ~/.cache/vllm/file'")
    before = podman("inspect -f '{{.Id}}' vllm-renamed")
    machine.succeed(f"systemctl --user -M vllm@.host restart {second}")
    assert podman("inspect -f '{{.Id}}' vllm-renamed") != before
    assert podman("exec vllm-renamed cat /root/.cache/vllm/file") == "kept\n"

with subtest("a secret is in no unit, no log and no process list"):
    assert one["environ"]["HF_TOKEN"] == "hf_5ecret"
    machine.fail(
        "grep -r hf_5ecret /etc/containers /etc/systemd /run/systemd /run/user/503/systemd"
    )
    machine.fail("journalctl --no-pager -o export | grep hf_[5]ecret")
    machine.fail("grep -z hf_[5]ecret /proc/[0-9]*/cmdline")

with subtest("llmhop answers for each model by its name"):
    machine.wait_for_open_port(8080)
    listed = json.loads(machine.succeed("curl -fsS http://127.0.0.1:8080/v1/models"))
    assert {m["id"] for m in listed["data"]} == {"qwen3.6-35b-a3b", "renamed"}
    for name in ("qwen3.6-35b-a3b", "renamed"):
        for flag in ("", "--stream"):
            answer = json.loads(machine.succeed(f"chat {flag} {name} hello"))
            assert answer["model"] == name, answer
            assert "hello" in answer["content"], answer

with subtest("a dead engine comes back, also when it exits with 0"):
    before = report(18001)["instance"]
    podman("kill --signal TERM vllm-qwen3.6-35b-a3b")
    machine.wait_until_fails("curl -fsS http://127.0.0.1:18001/health", timeout=30)
    machine.wait_until_succeeds("curl -fsS http://127.0.0.1:18001/health", timeout=120)
    machine.wait_for_unit(first, user="vllm")
    assert report(18001)["instance"] != before
