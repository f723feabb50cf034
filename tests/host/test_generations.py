"""What the NixOS module's services do to a host: at boot into another generation, and at the end.

The services are those of `module/generator-services.nix`, written by hand here.
"""

import json
from collections.abc import Callable
from typing import Any

from tests.host.cache import Cache
from tests.host.machine import Machine
from tests.host.project import wheels
from tests.host.setup import FOUND_HEALTHY_SOON, Setup, standin_image, write
from tests.images.load import as_user

UNITS_SERVICE = """\
[Unit]
Before=user@503.service llmhop.service
RequiresMountsFor=/var/lib/llmhop
[Service]
Type=oneshot
ExecStart=llmhop-generator apply --files-only /etc/llmhop/config.json
[Install]
WantedBy=user@503.service
"""
MODELS_SERVICE = """\
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=true
ExecStop=llmhop-generator apply /etc/llmhop/without-vllm.json
[Install]
WantedBy=multi-user.target
"""


def config(**models: int) -> str:
    """A configuration that serves models on ports, and one that runs elsewhere."""
    vllm = {
        "enable": True,
        "uid": 503,
        "subUidStart": 300000,
        "image": "localhost/standin",
        "tag": "v0.12.0",
        **FOUND_HEALTHY_SOON,
        "models": {name: {"model": f"m/{port}", "port": port} for name, port in models.items()},
    }
    return json.dumps({"version": 1, "llmhop": elsewhere(), "vllm": vllm})


def elsewhere() -> dict[str, Any]:
    return {"enable": True, "settings": {"models": {"far": {"url": "http://127.0.0.1:9"}}}}


def served(machine: Machine) -> set[str]:
    listed = machine.succeed("curl -fsS http://127.0.0.1:8080/v1/models")
    return {model["id"] for model in json.loads(listed)["data"]}


def containers(machine: Machine) -> str:
    return machine.succeed(as_user("vllm", "podman", "ps", "--format", "{{.Names}}"))


def test_a_boot_into_another_generation_starts_its_models_and_no_other(
    new_machine: Callable[[str], Machine], cache: Cache
) -> None:
    host = new_machine("generations")
    host.start()
    Setup("config", {"config": config(old=18001, same=18002)}, standin_image(cache)).prepare(
        wheels(cache)
    )(host)
    write(host, "/etc/llmhop/without-vllm.json", json.dumps({"version": 1, "llmhop": elsewhere()}))
    for name, text in (("units", UNITS_SERVICE), ("models", MODELS_SERVICE)):
        write(host, f"/etc/systemd/system/llmhop-{name}.service", text)
        host.succeed(f"systemctl enable llmhop-{name}.service")
    host.succeed("systemctl start llmhop-models.service")

    with host.log.subtest("while the manager runs, this is not the way"):
        code, output = host.execute("llmhop-generator apply --files-only /etc/llmhop/config.json")
        assert code == 0, output
        assert output == (
            "user@503.service runs already, so nothing was changed: that takes a whole apply\n"
        )
        assert containers(host).split() == ["vllm-old", "vllm-same"]

    with host.log.subtest("the next boot starts what the new generation has"):
        write(host, "/etc/llmhop/config.json", config(new=18001, same=18002))
        host.reboot()
        for name in ("new", "same"):
            host.wait_for_unit(f"vllm-{name}.service", user="vllm")
        assert containers(host).split() == ["vllm-new", "vllm-same"]
        assert "m/18001" in host.succeed("curl -fsS http://127.0.0.1:18001/v1/models")
        host.wait_for_unit("llmhop.service")
        assert served(host) == {"far", "new", "same"}
        assert host.succeed("journalctl -b -q _SYSTEMD_USER_UNIT=vllm-old.service") == ""

    with host.log.subtest("then there is nothing left to apply"):
        host.succeed("llmhop-generator diff /etc/llmhop/config.json")

    with host.log.subtest("where vLLM goes, its models go, and llmhop serves what is elsewhere"):
        host.succeed("systemctl stop llmhop-models.service")
        assert containers(host) == ""
        assert served(host) == {"far"}
        host.fail("ls /etc/containers/systemd/users/503/llmhop/*.container")
