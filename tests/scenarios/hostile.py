# Hostile strings in settings, variables and paths arrive in the container as they were written.

import json

machine.start()
machine.wait_for_unit("vllm-hostile.service", user="vllm")
vllm = json.loads(machine.succeed("cat /etc/llmhop/hostile.json"))["vllm"]
report = json.loads(machine.succeed("curl -fsS http://127.0.0.1:18001/report"))

with subtest("every setting is one argument, unchanged"):
    settings = vllm["models"]["hostile"]["settings"]
    assert len(settings) > 50
    wanted = [f"--{key}={settings[key]}" for key in sorted(settings)]
    assert report["argv"][6:] == wanted, [
        pair for pair in zip(report["argv"][6:], wanted) if pair[0] != pair[1]
    ]

with subtest("the model is one argument, unchanged"):
    assert report["argv"][1:3] == ["serve", vllm["models"]["hostile"]["model"]]

with subtest("every variable is unchanged"):
    got = {key: report["environ"].get(key) for key in vllm["environment"]}
    assert got == vllm["environment"], [
        (key, value, got[key]) for key, value in vllm["environment"].items() if got[key] != value
    ]

with subtest("the environment file is found by its name"):
    assert report["environ"]["FROM_FILE"] == "read"

with subtest("the cache directory is the one that was named"):
    assert machine.succeed("ls /srv") == vllm["cacheDir"].removeprefix("/srv/") + "\n"
    machine.succeed("cd /srv/* && runuser -u vllm -- touch mark")
    found = machine.succeed(
        "cd / && runuser -u vllm -- env XDG_RUNTIME_DIR=/run/user/503 HOME=/var/lib/vllm "
        "podman exec vllm-hostile ls /root/.cache/huggingface"
    )
    assert found == "mark\n", found
