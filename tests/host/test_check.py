"""`check` on a booted host: each thing that a host can lack is found, all of them at once.

One host goes from fault to fault.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.host.cache import Cache
from tests.host.machine import Machine
from tests.host.project import install, wheels
from tests.host.setup import write

CONFIG = "/root/config.json"
OPTION = "vllm"


def config(model: dict[str, Any] | None = None, **changes: Any) -> str:
    vllm = {
        "enable": True,
        "uid": 503,
        "subUidStart": 300000,
        "tag": "v1",
        "image": "registry.invalid/image",
        "models": {"a": {"model": "m", "port": 18001, **(model or {})}},
    }
    return json.dumps({"version": 1, "vllm": vllm | changes})


def with_llmhop(settings: dict[str, Any]) -> str:
    """A configuration without models of this host."""
    models = {"far": {"url": "http://127.0.0.1:9"}}
    llmhop = {"enable": True, "settings": {"models": models, **settings}}
    return json.dumps({"version": 1, "llmhop": llmhop, "vllm": {"enable": False}})


@pytest.fixture
def host(new_machine: Callable[[str], Machine], cache: Cache) -> Machine:
    """A host that was provisioned for the configuration above."""
    machine = new_machine("check")
    machine.start()
    install(machine, wheels(cache))
    write(machine, CONFIG, config())
    machine.succeed(f"llmhop-generator provision {CONFIG}")
    return machine


def findings(machine: Machine, text: str) -> list[str]:
    """What `check` finds for a configuration; it ends with 1 then and changes nothing."""
    write(machine, CONFIG, text)
    code, output = machine.execute(f"llmhop-generator check {CONFIG} 2>&1")
    assert code == 1, output
    first, *found = output.splitlines()
    assert first == "error: the host is not ready, and nothing was changed", output
    return [line.strip() for line in found]


def the_one(found: list[str], start: str) -> str:
    [line] = [line for line in found if line.startswith(start)]
    return line


def test_each_finding_is_told_with_its_option_and_what_to_do(host: Machine) -> None:
    assert host.succeed(f"llmhop-generator check {CONFIG}") == "this host is ready\n"
    for faults in (
        another_user,
        an_image_that_no_registry_has,
        no_podman_and_an_old_one,
        what_the_user_can_not_read_write_or_keep,
        addresses_of_llmhop,
        llmhop_without_its_group_and_service,
        what_the_kernel_and_systemd_would_not_take,
        secrets_of_llmhop,
        many_at_once,
    ):
        with host.log.subtest(faults.__name__.replace("_", " ")):
            faults(host)


def another_user(host: Machine) -> None:
    found = findings(host, config(user="ghost"))
    assert "ghost does not exist on this host" in the_one(found, f"{OPTION}.user:")
    found = findings(host, config(uid=504, subUidStart=400000))
    assert "is 504, but vllm has 503" in the_one(found, f"{OPTION}.uid:")
    for kind in "ug":
        none = the_one(found, f"{OPTION}.sub{kind.upper()}idStart:")
        assert f"/etc/sub{kind}id does not give vllm 65536 ids from 400000 on, none" in none
    found = findings(host, config(group="staff"))
    assert "group 503 is vllm here" in the_one(found, f"{OPTION}.group: is staff")
    host.succeed("cp /etc/subuid /etc/subuid.good", "echo vllm:250000:100000 >> /etc/subuid")
    overlap = the_one(findings(host, config()), f"{OPTION}.subUidStart: /etc/subuid gives vllm")
    assert "300000 to 365535 and 250000 to 349999" in overlap
    write(host, "/etc/subuid", "vllm:1000000:1000\nvllm:290000:100000\n")
    write(host, CONFIG, config())
    assert host.succeed(f"llmhop-generator check {CONFIG}") == "this host is ready\n"
    assert host.succeed(f"llmhop-generator provision {CONFIG}") == "nothing to do\n"
    host.succeed("mv /etc/subuid.good /etc/subuid")
    host.succeed("mv /usr/bin/newuidmap /usr/bin/moved")
    assert "newuidmap is not on" in the_one(findings(host, config()), f"{OPTION}.user:")
    host.succeed("mv /usr/bin/moved /usr/bin/newuidmap")


def many_at_once(host: Machine) -> None:
    spec = {"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [{"name": "0"}]}
    write(host, "/etc/cdi/nvidia.json", json.dumps(spec))
    write(host, "/etc/secret.env", "A=1")
    host.succeed("chmod 600 /etc/secret.env", "chown root /var/cache/vllm")
    host.succeed("systemd-run --unit taken python3 -m http.server --bind 127.0.0.1 18001")
    host.wait_for_open_port(18001)
    host.succeed(
        "echo vllm:300000:1000 > /etc/subuid",
        "echo other:310000:65536 >> /etc/subuid",
        "loginctl disable-linger vllm",
        "mv /usr/bin/newgidmap /usr/bin/moved",
    )
    found = findings(
        host,
        config(
            {
                "devices": ["nvidia.com/gpu=O", "/dev/dri/renderD128", "-/dev/optional"],
                "environmentFile": "/etc/nowhere.env",
            },
            gid=504,
            dataDir="/srv/nowhere",
        ),
    )
    pid = host.get_unit_property("taken.service", "MainPID")
    assert "but vllm has 503" in the_one(found, f"{OPTION}.gid:")
    assert "but 1000; switch" in the_one(found, f"{OPTION}.subUidStart: /etc/subuid does")
    overlap = the_one(found, f"{OPTION}.subUidStart: the range 300000 to 365535 overlaps")
    assert "310000 to 375535 of other in /etc/subuid" in overlap
    assert "does not linger" in the_one(found, f"{OPTION}.user: vllm")
    assert "install uidmap" in the_one(found, f"{OPTION}.user: newgidmap")
    assert "/srv/nowhere is not a directory" in the_one(found, f"{OPTION}.dataDir:")
    nowhere = the_one(found, f"{OPTION}.models.a.environmentFile:")
    assert "/etc/nowhere.env does not exist" in nowhere
    assert "nearest: nvidia.com/gpu=0" in the_one(found, f"{OPTION}.models.a.devices[0]:")
    assert "/dev/dri/renderD128 does not exist" in the_one(found, f"{OPTION}.models.a.devices[1]:")
    taken = the_one(found, f"{OPTION}.models.a.port:")
    assert f"18001 is taken by python3 (pid {pid})" in taken
    assert len(found) == 10, found


def addresses_of_llmhop(host: Machine) -> None:
    settings = {"listen": ["127.0.0.1:8080", ":8081", "unix:/run/taken", "unix:/run/file"]}
    write(host, CONFIG, with_llmhop(settings))
    host.succeed(
        "echo > /run/file",
        "systemd-run --unit tcp python3 -m http.server --bind 127.0.0.1 8081",
        "systemd-run --unit unix nc -lkU /run/taken",
    )
    host.wait_for_open_port(8081)
    host.wait_for_open_unix_socket("/run/taken")
    pids = [host.get_unit_property(f"{unit}.service", "MainPID") for unit in ("tcp", "unix")]
    where = "llmhop.settings.listen:"
    found = findings(host, with_llmhop(settings))
    assert f":8081 is taken by python3 (pid {pids[0]})" in the_one(found, f"{where} :8081")
    assert f"is taken by nc (pid {pids[1]})" in the_one(found, f"{where} unix:/run/taken")
    assert "/run/file is there and is no socket" in the_one(found, f"{where} /run/file")
    assert len(found) == 3, found

    host.succeed("systemctl stop tcp unix", "rm /run/file /run/taken")
    write(host, CONFIG, with_llmhop(settings))
    host.succeed(f"llmhop-generator provision {CONFIG}", f"llmhop-generator apply {CONFIG}")
    host.wait_for_open_port(8081)
    ready = "this host is ready\n"
    assert host.succeed(f"llmhop-generator check {CONFIG}") == ready
    # Without its socket llmhop opens them itself.
    host.succeed("systemctl disable --now llmhop.socket", "systemctl restart llmhop.service")
    host.wait_for_open_port(8081)
    assert host.succeed(f"llmhop-generator check {CONFIG}") == ready


def llmhop_without_its_group_and_service(host: Machine) -> None:
    unit = "/etc/systemd/system/llmhop.service"
    host.succeed(
        "cp /etc/group /root/group",
        "sed -i '/^llmhop:/d' /etc/group",
        f"mv {unit} /root/llmhop.service",
        "systemctl daemon-reload",
    )
    found = findings(host, config())
    where = "llmhop.enable:"
    assert "llmhop-generator provision" in the_one(found, f"{where} the group llmhop does not")
    assert "llmhop-generator provision" in the_one(found, f"{where} llmhop.service is not on this")
    assert len(found) == 2, found
    host.succeed("cp /root/group /etc/group", f"mv /root/llmhop.service {unit}")
    host.succeed("systemctl daemon-reload")


def what_the_kernel_and_systemd_would_not_take(host: Machine) -> None:
    refused = {"MemoryMaxx": "1G"}
    found = findings(
        host, config({"port": 80, "containerConfig": {"No": 1}}, serviceConfig=refused)
    )
    assert "80 is below 1024" in the_one(found, f"{OPTION}.models.a.port:")
    assert "refused by Podman" in the_one(found, f"{OPTION}.models.a.containerConfig.No:")
    assert "makes no service of vllm-a" in the_one(found, "Podman's generator:")
    assert len(found) == 3, found
    found = findings(host, config(serviceConfig=refused))
    assert "Unknown key" in the_one(found, f"{OPTION}.serviceConfig.MemoryMaxx:")
    write(host, CONFIG, config({"port": 80}))
    host.succeed("echo 80 > /proc/sys/net/ipv4/ip_unprivileged_port_start")
    assert host.succeed(f"llmhop-generator check {CONFIG}") == "this host is ready\n"
    host.succeed("echo 1024 > /proc/sys/net/ipv4/ip_unprivileged_port_start")


def secrets_of_llmhop(host: Machine) -> None:
    drop_in = "/etc/systemd/system/llmhop.service.d/secrets.conf"
    write(host, drop_in, "[Service]\nLoadCredential=token:/etc/token\nEnvironment=KEY=x 'A=b c'\n")
    write(host, "/etc/token", "t")
    write(host, "/etc/closed", "t")
    host.succeed("chmod 600 /etc/token /etc/closed", "systemctl daemon-reload")
    good = {"authTokens": ["${file:token}", "${env:KEY}", "$A"]}
    write(host, CONFIG, with_llmhop(good))
    assert host.succeed(f"llmhop-generator check {CONFIG}") == "this host is ready\n"

    where = "llmhop.settings."
    bad = {
        "authTokens": ["${file:tokn}", "${env:KEY}", "${file:/etc/closed}", "$B"],
        "tls": {"certificate": "/etc/passwd", "key": "token"},
    }
    found = findings(host, with_llmhop(bad))
    absent = the_one(found, f"{where}authTokens[0]:")
    assert "(No such file or directory: /run/credentials/llmhop.service/tokn)" in absent
    assert "can't be read (Permission denied" in the_one(found, f"{where}authTokens[2]:")
    assert "$B refers to an environment variable" in the_one(found, f"{where}authTokens[3]:")
    assert "no usable certificate" in the_one(found, f"{where}tls:")
    assert len(found) == 4, found

    host.succeed("rm /etc/token")
    found = findings(host, with_llmhop(good))
    assert "can't be given its credentials" in the_one(found, "llmhop.enable:")
    host.succeed(f"rm {drop_in}", "systemctl daemon-reload")


def what_the_user_can_not_read_write_or_keep(host: Machine) -> None:
    write(host, "/etc/secret.env", "A=1")
    host.succeed("chmod 600 /etc/secret.env", "chown root /var/cache/vllm", "mkdir /srv/small")
    host.succeed("mount -t tmpfs -o size=10M,uid=503 small /srv/small")
    found = findings(host, config(environmentFile="/etc/secret.env", dataDir="/srv/small"))
    assert "can't be written by vllm" in the_one(found, f"{OPTION}.cacheDir:")
    assert "can't be read by vllm" in the_one(found, f"{OPTION}.environmentFile:")
    assert "0.0 GiB left and needs 5.00" in the_one(found, f"{OPTION}.dataDir: /srv/small")
    home = the_one(found, f"{OPTION}.dataDir: is /srv/small, but the home of vllm")
    assert "is /var/lib/vllm; make them agree" in home
    assert len(found) == 4, found

    host.succeed("chown vllm /var/cache/vllm", "chgrp vllm /etc/secret.env")
    host.succeed("chmod 640 /etc/secret.env", "mkdir -p /srv/over/{upper,work,merged}")
    host.succeed(
        "mount -t tmpfs layers /srv/over",
        "mkdir -p /srv/over/upper /srv/over/work /srv/over/merged",
        "mount -t overlay over -o lowerdir=/etc,upperdir=/srv/over/upper,workdir=/srv/over/work "
        "/srv/over/merged",
        "chown vllm /srv/over/merged",
    )
    found = findings(host, config(environmentFile="/etc/secret.env", dataDir="/srv/over/merged"))
    assert "lies on overlay, which can't hold" in the_one(found, f"{OPTION}.dataDir: /srv/over")


def an_image_that_no_registry_has(host: Machine) -> None:
    found = findings(host, config(image="localhost/built-here"))
    absent = the_one(found, f"{OPTION}.tag:")
    assert "localhost/built-here:v1 is not in the storage of vllm" in absent


def no_podman_and_an_old_one(host: Machine) -> None:
    host.succeed("mv /usr/bin/podman /usr/bin/moved")
    found = findings(host, config(image="localhost/built-here"))
    assert "podman can't be run" in the_one(found, "Podman:")
    write(host, "/usr/bin/podman", "#!/bin/sh\necho podman version 4.9.3\n")
    host.succeed("chmod +x /usr/bin/podman")
    assert "5.0 or newer" in the_one(findings(host, config()), "Podman:")
    host.succeed("mv /usr/bin/moved /usr/bin/podman")
