# A secret reaches the process that needs it, and nobody who looks elsewhere finds it.

import json

ASK = "curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/v1/models"

machine.start()
machine.wait_for_unit("vllm-a.service", user="vllm")
machine.wait_for_unit("llmhop.service")

with subtest("the model has its secret"):
    report = json.loads(machine.succeed("curl -fsS http://127.0.0.1:18001/report"))
    assert report["environ"]["HF_TOKEN"] == "hf_5ecret"

with subtest("llmhop asks its clients for theirs"):
    assert machine.succeed(ASK) == "401"
    assert machine.succeed(f"{ASK} -H 'Authorization: Bearer nonsense'") == "401"
    # Read from a file, or it would be in this host's own log of commands.
    machine.succeed("printf 'Authorization: Bearer ' > /root/header")
    machine.succeed("cat /etc/vllm/client-token >> /root/header")
    assert machine.succeed(f"{ASK} -H @/root/header") == "200"

with subtest("llmhop is reloaded with the secrets that it was started with"):
    machine.succeed("systemctl reload llmhop.service")
    assert machine.succeed(f"{ASK} -H @/root/header") == "200"
    # Another secret, which its unit does not give.
    machine.succeed("cp -p /var/lib/llmhop/llmhop.json /root/llmhop.json")
    machine.succeed("sed -i 's/file:client-token/file:other/' /var/lib/llmhop/llmhop.json")
    machine.succeed("systemctl reload llmhop.service")
    status = machine.succeed("systemctl show -p StatusText --value llmhop.service")
    assert status.startswith("reload refused"), status
    assert machine.succeed(f"{ASK} -H @/root/header") == "200"
    machine.succeed("cp -p /root/llmhop.json /var/lib/llmhop/llmhop.json")
    machine.succeed("systemctl reload llmhop.service")
    status = machine.succeed("systemctl show -p StatusText --value llmhop.service")
    assert status.startswith("serves 1 model"), status

with subtest("units and configurations name the files and not what is in them"):
    places = "/etc/containers /etc/systemd /run/systemd /run/user/503/systemd /var/lib/llmhop"
    for secret in ("hf_5ecret", "t0ken-5ecret"):
        machine.fail(f"grep -rs {secret} {places} --exclude-dir=credentials")
    machine.succeed("grep -q client-token /var/lib/llmhop/llmhop.json")
    machine.succeed("grep -q /etc/vllm/vllm.env /etc/containers/systemd/users/503/llmhop/*")

with subtest("no log and no process list has them"):
    for pattern in ("hf_[5]ecret", "t0ken-[5]ecret"):
        machine.fail(f"journalctl --no-pager -o export | grep {pattern}")
        machine.fail(f"grep -z {pattern} /proc/[0-9]*/cmdline")
        machine.fail(f"llmhop-generator logs a --no-follow | grep {pattern}")
        machine.fail(f"llmhop-generator status --json | grep {pattern}")

with subtest("the user of the models can't read llmhop's"):
    machine.succeed("test -s /run/credentials/llmhop.service/client-token")
    machine.fail("runuser -u vllm -- cat /run/credentials/llmhop.service/client-token")
