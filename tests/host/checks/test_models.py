"""What a host can lack for the models of a configuration."""

import json
from typing import Any

import pytest

from tests.host.checked_host import (
    CONFIG,
    READY,
    USER_MANAGER,
    CheckedHost,
    config,
    ready_though_outdated,
)


def test_a_host_that_was_provisioned_is_ready(host: CheckedHost) -> None:
    assert host.check(config()) == (0, READY)


def test_a_user_that_does_not_exist(host: CheckedHost) -> None:
    found = host.finding(config(user="ghost"))
    assert found.startswith("vllm.user: ghost does not exist on this host"), found


@pytest.mark.parametrize("key", ["uid", "gid"])
def test_an_id_that_the_user_does_not_have(host: CheckedHost, key: str) -> None:
    ids: dict[str, Any] = {"uid": 503, "gid": 503, key: 504}
    found = host.finding(config(**ids))
    assert found.startswith(f"vllm.{key}: is 504, but vllm has 503 on this host"), found


def test_a_group_of_another_name(host: CheckedHost) -> None:
    found = host.finding(config(group="staff"))
    assert found.startswith("vllm.group: is staff, but group 503 is vllm here"), found


def test_subordinate_ids_that_the_user_was_not_given(host: CheckedHost) -> None:
    found = host.findings(config(subUidStart=400000))
    for kind, line in zip(("gid", "uid"), found, strict=True):
        assert line.startswith(
            f"vllm.sub{kind.capitalize()}Start: /etc/sub{kind} does not give vllm 65536 ids "
            "from 400000 on, none of them"
        ), found


def test_fewer_subordinate_ids_than_are_needed(host: CheckedHost) -> None:
    host.put("/etc/subuid", "vllm:300000:1000\n")
    found = host.finding(config())
    assert found.startswith("vllm.subUidStart: /etc/subuid does not give vllm 65536 ids"), found
    assert "but 1000; run" in found


def test_subordinate_ids_that_another_user_has_too(host: CheckedHost) -> None:
    host.put("/etc/subuid", "vllm:300000:65536\nother:310000:65536\n")
    found = host.finding(config())
    assert found.startswith("vllm.subUidStart: the range 300000 to 365535 overlaps"), found
    assert "310000 to 375535 of other in /etc/subuid" in found


def test_subordinate_ids_that_the_user_has_twice(host: CheckedHost) -> None:
    host.put("/etc/subuid", "vllm:300000:65536\nvllm:250000:100000\n")
    found = host.finding(config())
    assert found.startswith("vllm.subUidStart: /etc/subuid gives vllm ranges that overlap"), found
    assert "300000 to 365535 and 250000 to 349999" in found


def test_more_subordinate_ids_than_are_needed_are_enough(host: CheckedHost) -> None:
    host.put("/etc/subuid", "vllm:1000000:1000\nvllm:290000:100000\n")
    assert host.check(config()) == (0, READY)
    assert host.machine.succeed(f"llmhop-generator provision {CONFIG}") == "nothing to do\n"


@pytest.mark.parametrize("program", ["newuidmap", "newgidmap"])
def test_a_program_that_maps_ids_is_missing(host: CheckedHost, program: str) -> None:
    host.hide(f"/usr/bin/{program}")
    found = host.finding(config())
    assert found.startswith(f"vllm.user: {program} is not on this host"), found
    assert "install uidmap" in found


def test_a_user_that_does_not_linger(host: CheckedHost) -> None:
    back = "loginctl enable-linger vllm && systemctl start user@503.service"
    host.change("loginctl disable-linger vllm", back)
    found = host.finding(config())
    assert found.startswith("vllm.user: vllm does not linger"), found


def test_an_image_that_no_registry_has(host: CheckedHost) -> None:
    found = host.finding(config(image="localhost/built-here"))
    assert found.startswith("vllm.tag: localhost/built-here:v1 is not in the storage of vllm"), (
        found
    )


def test_no_podman(host: CheckedHost) -> None:
    host.hide("/usr/bin/podman")
    found = host.finding(config(image="localhost/built-here"))
    assert found.startswith("Podman: podman can't be run"), found


def test_a_podman_that_is_too_old(host: CheckedHost) -> None:
    host.put("/usr/bin/podman", "#!/bin/sh\necho podman version 4.9.3\n", mode="755")
    found = host.finding(config())
    assert found.startswith("Podman: "), found
    assert "5.0 or newer" in found


def test_a_directory_that_is_missing(host: CheckedHost) -> None:
    found = host.finding(config(dataDir="/srv/nowhere"))
    assert found.startswith("vllm.dataDir: /srv/nowhere is not a directory on this host"), found


def test_a_directory_that_the_user_can_not_write(host: CheckedHost) -> None:
    host.change("chown root /var/cache/vllm", "chown vllm /var/cache/vllm")
    found = host.finding(config())
    assert found.startswith("vllm.cacheDir: /var/cache/vllm can't be written by vllm"), found


def test_a_cache_that_is_full(host: CheckedHost) -> None:
    host.change(
        "mkdir /srv/small && mount -t tmpfs -o size=10M,uid=503 small /srv/small",
        "umount /srv/small && rmdir /srv/small",
    )
    full = host.finding(config(cacheDir="/srv/small"))
    assert full.startswith("vllm.cacheDir: /srv/small has 0.0 GiB left, and "), full
    assert full.endswith("is yet to be downloaded into it; make room"), full
    host.change("mkdir -p /srv/small/hub/models--org--name", "rm -r /srv/small/hub")
    for model in ("org/name", "/models/name"):
        serving = {"models": {"a": {"model": model, "port": 18001}}}
        told = ready_though_outdated(USER_MANAGER)
        assert host.check(config(cacheDir="/srv/small", **serving)) == (0, told)


def test_a_home_elsewhere_that_is_full(host: CheckedHost) -> None:
    host.change(
        "mkdir /srv/small && mount -t tmpfs -o size=10M,uid=503 small /srv/small",
        "umount /srv/small && rmdir /srv/small",
    )
    full, home = host.findings(config(dataDir="/srv/small"))
    assert full.startswith("vllm.dataDir: /srv/small has 0.0 GiB left and needs 5.00"), full
    assert home.startswith("vllm.dataDir: is /srv/small, but the home of vllm"), home
    assert "is /var/lib/vllm; make them agree" in home


def test_a_home_on_a_file_system_that_can_not_hold_overlays(host: CheckedHost) -> None:
    host.change(
        "mkdir /srv/over && mount -t tmpfs layers /srv/over",
        "umount /srv/over && rmdir /srv/over",
    )
    layers = "lowerdir=/etc,upperdir=/srv/over/upper,workdir=/srv/over/work"
    host.change(
        "mkdir /srv/over/{upper,work,merged} "
        f"&& mount -t overlay over -o {layers} /srv/over/merged && chown vllm /srv/over/merged",
        "umount /srv/over/merged",
    )
    found = host.findings(config(dataDir="/srv/over/merged"))
    where = "vllm.dataDir: /srv/over/merged lies on overlay, which can't hold"
    assert [line for line in found if line.startswith(where)], found


def test_an_environment_file_that_is_missing(host: CheckedHost) -> None:
    found = host.finding(config({"environmentFile": "/etc/nowhere.env"}))
    where = "vllm.models.a.environmentFile"
    assert found.startswith(f"{where}: /etc/nowhere.env does not exist on this host"), found


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("A=1\n=hidden\n", "has no name before = in line 2"),
        ("\ufeffA=hidden\n", "begins with a byte order mark"),
    ],
)
def test_an_environment_file_that_podman_would_misread(
    content: str, told: str, host: CheckedHost
) -> None:
    host.put("/etc/odd.env", content)
    found = host.finding(config(environmentFile="/etc/odd.env"))
    assert found.startswith(f"vllm.environmentFile: /etc/odd.env {told}"), found
    assert "hidden" not in found


def test_an_environment_file_that_is_a_directory(host: CheckedHost) -> None:
    found = host.finding(config(environmentFile="/etc"))
    assert found.startswith("vllm.environmentFile: /etc is not a file; put one there"), found


def test_an_environment_file_that_the_user_can_not_read(host: CheckedHost) -> None:
    host.put("/etc/secret.env", "A=1", mode="600")
    with_file = config(environmentFile="/etc/secret.env")
    found = host.finding(with_file)
    assert found.startswith("vllm.environmentFile: /etc/secret.env can't be read by vllm"), found
    host.machine.succeed("chgrp vllm /etc/secret.env", "chmod 640 /etc/secret.env")
    assert host.check(with_file) == (0, ready_though_outdated(USER_MANAGER))


def test_a_volume_of_the_host_that_podman_would_not_find(host: CheckedHost) -> None:
    volumes = ["/srv/models:/models:ro", "/root/closed:/closed"]
    host.change("mkdir /root/closed", "rmdir /root/closed")
    closed, missing = sorted(
        host.findings(config({"containerConfig": {"Volume": volumes}})), reverse=True
    )
    where = "vllm.models.a.containerConfig.Volume"
    assert closed.startswith(f"{where}[1]: /root/closed is below /root, which"), closed
    assert missing.startswith(f"{where}[0]: /srv/models does not exist on this host"), missing
    # What is told is so: Podman makes none of it.
    said = host.machine.fail("podman create --rootfs -v /srv/models:/models / true 2>&1")
    assert "statfs /srv/models: no such file or directory" in said
    host.change("mkdir /srv/models", "rmdir /srv/models")
    told = ready_though_outdated(USER_MANAGER)
    assert host.check(config({"containerConfig": {"Volume": volumes[0]}})) == (0, told)


def test_a_device_that_no_specification_defines(host: CheckedHost) -> None:
    spec = {"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [{"name": "0"}]}
    host.put("/etc/cdi/nvidia.json", json.dumps(spec))
    found = host.finding(config({"devices": ["nvidia.com/gpu=0", "nvidia.com/gpu=O"]}))
    assert found.startswith("vllm.models.a.devices[1]: no specification in"), found
    assert found.endswith("defines nvidia.com/gpu=O; nearest: nvidia.com/gpu=0"), found


def test_a_device_that_does_not_exist_unless_it_is_optional(host: CheckedHost) -> None:
    found = host.finding(config({"devices": ["-/dev/dri/renderD128", "/dev/dri/renderD129"]}))
    where = "vllm.models.a.devices[1]"
    assert found.startswith(f"{where}: /dev/dri/renderD129 does not exist on this host"), found


def test_a_port_of_a_model_that_another_process_has(host: CheckedHost) -> None:
    pid = host.serve("taken", "python3 -m http.server --bind 127.0.0.1 18001")
    host.machine.wait_for_open_port(18001)
    found = host.finding(config())
    assert found.startswith(f"vllm.models.a.port: 18001 is taken by python3 (pid {pid})"), found


def test_a_port_of_a_model_that_takes_privileges(host: CheckedHost) -> None:
    found = host.finding(config({"port": 80}))
    assert found.startswith("vllm.models.a.port: 80 is below 1024"), found
    limit = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
    host.change(f"echo 80 > {limit}", f"echo 1024 > {limit}")
    assert host.check(config({"port": 80})) == (0, READY)


def test_a_key_of_a_container_that_podman_refuses(host: CheckedHost) -> None:
    key = host.finding(config({"containerConfig": {"No": 1}}))
    assert key.startswith("vllm.models.a.containerConfig.No: "), key
    assert "refused by Podman" in key


def test_a_key_of_a_service_that_systemd_does_not_know(host: CheckedHost) -> None:
    found = host.finding(config(serviceConfig={"MemoryMaxx": "1G"}))
    assert found.startswith("vllm.serviceConfig.MemoryMaxx: "), found
    assert "Unknown key" in found


def test_all_that_a_host_lacks_is_told_at_once(host: CheckedHost) -> None:
    host.hide("/usr/bin/newgidmap")
    host.put("/etc/subuid", "vllm:300000:1000\nother:310000:65536\n")
    host.serve("taken", "python3 -m http.server --bind 127.0.0.1 18001")
    host.machine.wait_for_open_port(18001)
    model = {"devices": ["/dev/dri/renderD128"], "environmentFile": "/etc/nowhere.env"}
    found = host.findings(
        config(model, gid=504, dataDir="/srv/nowhere", serviceConfig={"MemoryMaxx": "1G"})
    )
    assert [line.split(": ")[0].removeprefix("vllm.") for line in found] == [
        *("dataDir", "gid", "models.a.devices[0]", "models.a.environmentFile", "models.a.port"),
        *("serviceConfig.MemoryMaxx", "subUidStart", "subUidStart", "user"),
    ]


def test_a_unit_that_a_model_requires_and_its_manager_does_not_have(host: CheckedHost) -> None:
    required = {"Requires": ["network-online.target", "default.target"], "BindsTo": "x.service"}
    bound, found = host.findings(config({"unitConfig": required}))
    where = "vllm.models.a.unitConfig"
    assert bound.startswith(f"{where}.BindsTo: requires x.service, which is not there"), bound
    # There is one of this name, but it is the system's.
    assert found.startswith(f"{where}.Requires: requires network-online.target, which"), found
