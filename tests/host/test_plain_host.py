"""A plain Debian host: provisioned step by step, and refused with reasons before it is ready."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.host.cache import Cache
from tests.host.machine import Machine
from tests.host.project import install, wheels
from tests.host.setup import write

CONFIG = "/root/config.json"
LISTING = "find /etc /var/lib /run/systemd/system -xdev | sort | sha256sum"


def config(**changes: Any) -> str:
    vllm = {
        "enable": True,
        "uid": 503,
        "subUidStart": 300000,
        "tag": "v0.11.0",
        "models": {"a": {"model": "m", "port": 18001}},
    }
    return json.dumps({"version": 1, "vllm": vllm | changes})


@pytest.fixture
def host(new_machine: Callable[[str], Machine], cache: Cache) -> Machine:
    """A host that has the commands and nothing else."""
    machine = new_machine("plain")
    machine.start()
    install(machine, wheels(cache))
    write(machine, CONFIG, config())
    return machine


def refused(machine: Machine, command: str) -> str:
    """Run a command that must end with code 1 and an error; give the error."""
    code, output = machine.execute(f"{command} 2>&1 >/dev/null")
    assert code == 1, output
    assert any(line.startswith("error: ") for line in output.splitlines()), output
    assert "Traceback" not in output
    return output


def shown_to_nobody(machine: Machine) -> list[str]:
    """The steps that a user without any rights is shown."""
    command = "llmhop-generator provision - --dry-run"
    user = "setpriv --reuid nobody --regid nogroup --clear-groups"
    return machine.succeed(f"{user} {command} < {CONFIG}").splitlines()


def test_provision_shows_its_steps_takes_them_and_then_has_nothing_to_do(host: Machine) -> None:
    before = host.succeed(LISTING)
    shown = host.succeed(f"llmhop-generator provision {CONFIG} --dry-run").splitlines()
    assert shown_to_nobody(host) == shown
    assert host.succeed(LISTING) == before
    taken = host.succeed(f"llmhop-generator provision {CONFIG}").splitlines()
    assert taken == shown
    assert "loginctl enable-linger vllm" in taken
    assert host.succeed(f"llmhop-generator provision {CONFIG}") == "nothing to do\n"
    assert shown_to_nobody(host) == ["nothing to do"]

    assert host.succeed("id -u vllm; id -g vllm") == "503\n503\n"
    for name in ("subuid", "subgid"):
        assert host.succeed(f"grep vllm /etc/{name}") == "vllm:300000:65536\n"
    assert host.succeed("stat -c '%a %U' /var/lib/vllm /var/cache/vllm") == "700 vllm\n750 vllm\n"
    host.wait_for_unit("user@503.service")
    host.succeed("systemctl is-enabled llmhop.service", "systemctl is-active network-online.target")


def test_what_a_plain_user_may_not_see_counts_as_missing_and_is_no_error(host: Machine) -> None:
    host.succeed(f"llmhop-generator provision {CONFIG}", "install -d -m 700 /srv/closed")
    kept = "/var/lib/llmhop/llmhop.json"
    write(host, kept, '{"models": {"far": {"url": "http://127.0.0.1:9"}}}')
    host.succeed(f"chgrp llmhop {kept} && chmod 640 {kept}", "systemctl start llmhop.service")
    elsewhere = json.loads(config(cacheDir="/srv/closed/cache"))
    elsewhere["llmhop"] = {"settings": {"listen": ":9000"}}
    write(host, CONFIG, json.dumps(elsewhere))
    assert shown_to_nobody(host) == [
        "write /etc/tmpfiles.d/llmhop.conf",
        "write /etc/systemd/system/llmhop.socket",
        "write /etc/systemd/system/user@503.service.d/llmhop.conf",
        "systemd-tmpfiles --create /etc/tmpfiles.d/llmhop.conf",
        "systemctl daemon-reload",
    ]


def test_provision_mends_what_is_missing(host: Machine) -> None:
    host.succeed(f"llmhop-generator provision {CONFIG}")
    host.succeed("loginctl disable-linger vllm", "rmdir /var/cache/vllm", "echo > /etc/subgid")
    assert host.succeed(f"llmhop-generator provision {CONFIG}").splitlines()[:3] == [
        "systemd-tmpfiles --create /etc/tmpfiles.d/llmhop.conf",
        "usermod --add-subgids 300000-365535 vllm",
        "loginctl enable-linger vllm",
    ]


def test_provision_adds_no_range_that_overlaps_another_of_the_user(host: Machine) -> None:
    host.succeed(f"llmhop-generator provision {CONFIG}")
    host.succeed("echo vllm:290000:100000 > /etc/subuid", "echo vllm:300000:1000 > /etc/subgid")
    output = refused(host, f"llmhop-generator provision {CONFIG}")
    assert "subGidStart: the range from 300000 on would overlap 300000 to 300999" in output
    host.succeed("echo > /etc/subgid")
    assert host.succeed(f"llmhop-generator provision {CONFIG}").splitlines() == [
        "usermod --add-subgids 300000-365535 vllm"
    ]


def provision_refused(machine: Machine) -> list[str]:
    """The findings by which `provision` ends before its first step, with --dry-run and without."""
    before = machine.succeed(LISTING)
    output = refused(machine, f"llmhop-generator provision {CONFIG}")
    assert refused(machine, f"llmhop-generator provision {CONFIG} --dry-run") == output
    assert machine.succeed(LISTING) == before
    first, *found = output.splitlines()
    assert first == "error: this host can't be set up so, and nothing was changed", output
    return [line.strip() for line in found]


def test_provision_takes_nothing_from_others(host: Machine) -> None:
    host.succeed("useradd --create-home --uid 1000 alice", "mkdir -m 755 /srv/models")
    host.succeed("touch /srv/models/theirs")
    host.succeed("echo alice:100000:65536 > /etc/subuid", "echo > /etc/subgid")
    write(host, CONFIG, config(cacheDir="/srv/models", dataDir="/home/alice", subUidStart=120000))
    owners = host.succeed("stat -c '%A %U' /srv/models /home/alice")
    cache, data, ids = provision_refused(host)
    assert cache.startswith("vllm.cacheDir: /srv/models is there and belongs to root"), cache
    assert "chown 503:503 /srv/models" in cache
    assert data.startswith("vllm.dataDir: /home/alice is there and belongs to alice"), data
    assert ids.startswith("vllm.subUidStart: the range 120000 to 185535 overlaps 100000"), ids
    assert host.succeed("stat -c '%A %U' /srv/models /home/alice") == owners

    host.succeed("chown 503:503 /srv/models")
    write(host, CONFIG, config(cacheDir="/srv/models"))
    host.succeed(f"llmhop-generator provision {CONFIG}")
    assert host.succeed("stat -c '%a %U' /srv/models") == "750 vllm\n"


def test_provision_refuses_what_the_user_is_not(host: Machine) -> None:
    write(host, CONFIG, config(uid=1, gid=4))
    uid, gid = sorted(provision_refused(host), reverse=True)
    assert uid.startswith("vllm.uid: 1 is daemon's on this host"), uid
    assert gid.startswith("vllm.group: is vllm, but group 4 is adm here"), gid

    write(host, CONFIG, config())
    host.succeed(f"llmhop-generator provision {CONFIG}")
    write(host, CONFIG, config(uid=1, gid=4, dataDir="/srv/elsewhere"))
    assert [line.split(": ")[0] for line in provision_refused(host)] == [
        *("vllm.dataDir", "vllm.gid", "vllm.uid"),
    ]
    host.fail("systemctl is-active user@1.service")


def test_provision_leaves_a_deployers_own_user_to_the_deployer(host: Machine) -> None:
    write(host, CONFIG, config(user="serving"))
    assert "make serving yourself" in refused(host, f"llmhop-generator provision {CONFIG}")


def test_provision_refuses_a_router_that_its_service_could_not_run(host: Machine) -> None:
    output = refused(host, f"llmhop-generator provision {CONFIG} --llmhop /opt/nowhere")
    assert "is not found" in output
    host.succeed("install -m 755 /bin/true /root/llmhop")
    output = refused(host, f"llmhop-generator provision {CONFIG} --llmhop /root/llmhop")
    assert "lies in a home directory" in output


def test_apply_names_everything_that_the_host_lacks_and_changes_nothing(host: Machine) -> None:
    before = host.succeed(LISTING)
    output = refused(host, f"llmhop-generator apply {CONFIG}")
    assert "vllm.user: vllm does not exist" in output
    assert "vllm.dataDir: /var/lib/vllm is not a directory" in output
    assert "provision" in output
    assert host.succeed(LISTING) == before


def test_apply_names_files_and_ids_that_do_not_agree(host: Machine) -> None:
    host.succeed(f"llmhop-generator provision {CONFIG}")
    changed = {"gid": 504, "subUidStart": 400000, "environmentFile": "/etc/nowhere.env"}
    write(host, CONFIG, config(**changed))
    output = refused(host, f"llmhop-generator apply {CONFIG}")
    assert "vllm.gid: is 504, but vllm has 503" in output
    assert "vllm.subUidStart: /etc/subuid does not give vllm 65536" in output
    assert "vllm.environmentFile: /etc/nowhere.env does not exist" in output
    host.fail("ls /etc/containers/systemd/users/503/llmhop/*")


def test_apply_refuses_to_run_as_another_user_and_without_podman(host: Machine) -> None:
    host.succeed(f"install -m 644 {CONFIG} /config.json")
    output = refused(host, "runuser -u nobody -- llmhop-generator apply /config.json")
    assert "run it as root" in output
    host.succeed("mv /usr/bin/podman /usr/bin/not-podman")
    assert "podman can't be run" in refused(host, f"llmhop-generator apply {CONFIG}")
    write(host, "/usr/bin/podman", "#!/bin/sh\necho podman version 4.9.3\n")
    host.succeed("chmod +x /usr/bin/podman")
    assert "Podman: 5.0 or newer" in refused(host, f"llmhop-generator apply {CONFIG}")


def test_keys_that_podman_or_systemd_would_not_use_change_nothing(host: Machine) -> None:
    host.succeed(f"llmhop-generator provision {CONFIG}")
    write(host, CONFIG, config(containerConfig={"No": 1}, serviceConfig={"MemoryMaxx": "1G"}))
    output = refused(host, f"llmhop-generator apply {CONFIG}")
    assert "vllm.containerConfig.No: is refused by Podman" in output

    write(host, CONFIG, config(serviceConfig={"MemoryMaxx": "1G", "MemoryMax": "lots"}))
    output = refused(host, f"llmhop-generator apply {CONFIG}")
    assert "vllm.serviceConfig.MemoryMaxx: systemd says: Unknown key" in output
    assert "vllm.serviceConfig.MemoryMax: systemd says: Invalid memory" in output
    host.fail("ls /etc/containers/systemd/users/503/llmhop/*")


def test_llmhop_keeps_its_configuration_where_the_new_one_is_refused(host: Machine) -> None:
    remote = {"models": {"elsewhere": {"url": "http://127.0.0.1:9"}}, "authTokens": ["t0ken"]}
    write(host, CONFIG, json.dumps({"version": 1, "llmhop": {"enable": True, "settings": remote}}))
    host.succeed(f"llmhop-generator provision {CONFIG}", f"llmhop-generator apply {CONFIG}")
    host.wait_for_unit("llmhop.service")
    served = "curl -fsS -H 'Authorization: Bearer t0ken' http://127.0.0.1:8080/v1/models"
    assert "elsewhere" in host.succeed(served)
    shown = host.succeed("stat -c '%a %U %G' /var/lib/llmhop/llmhop.json")
    assert shown == "640 root llmhop\n"

    settings = remote | {"maxBodyByte": 1, "models": {"new": {"url": "http://127.0.0.1:9"}}}
    write(
        host,
        "/root/bad.json",
        json.dumps({"version": 1, "llmhop": {"enable": True, "settings": settings}}),
    )
    output = refused(host, "llmhop-generator apply /root/bad.json")
    assert "maxBodyByte" in output
    assert "maxBodyBytes" in output
    assert "t0ken" not in output
    assert "elsewhere" in host.succeed(served)
    assert "elsewhere" in host.succeed("cat /var/lib/llmhop/llmhop.json")


def router_config(**settings: Any) -> str:
    models = {"elsewhere": {"url": "http://127.0.0.1:9"}}
    llmhop = {"enable": True, "settings": {"models": models, **settings}}
    return json.dumps({"version": 1, "llmhop": llmhop})


def test_a_restart_of_llmhop_refuses_no_client(host: Machine) -> None:
    listen = ["127.0.0.1:8080", "unix:/run/llmhop/llmhop.sock"]
    write(host, CONFIG, router_config(listen=listen, workers=2))
    host.succeed(f"llmhop-generator provision {CONFIG}", f"llmhop-generator apply {CONFIG}")
    host.wait_for_unit("llmhop.service")
    status = host.get_unit_property("llmhop.service", "StatusText")
    assert status == (
        "serves 1 model on http://127.0.0.1:8080, unix:/run/llmhop/llmhop.sock with 2 workers"
    )
    ask = "curl -fsS -o /dev/null --max-time 30"
    both = f"{ask} http://127.0.0.1:8080/health && "
    both += f"{ask} --unix-socket /run/llmhop/llmhop.sock http://llmhop/health"
    loop = f"until [ -e /root/done ]; do {{ {both}; }} || exit 1; echo >> /root/answers; done"
    write(host, "/root/ask", loop)
    keep = "--property Type=exec --property RemainAfterExit=yes"
    host.succeed(f"systemd-run --unit ask {keep} bash /root/ask")
    host.wait_until_succeeds("test -s /root/answers")
    for _ in range(3):  # five starts are the limit
        host.succeed("systemctl restart llmhop.service", "systemctl is-active ask.service")
    before = host.succeed("wc -l < /root/answers").strip()
    host.wait_until_succeeds(f"test $(wc -l < /root/answers) -gt {before}")
    host.succeed("touch /root/done")
    host.wait_until_succeeds("systemctl show -p SubState --value ask.service | grep -qx exited")
    assert host.get_unit_property("ask.service", "Result") == "success"


def test_llmhop_is_given_no_address_before_its_socket(host: Machine) -> None:
    def act(command: str, **settings: Any) -> str:
        write(host, CONFIG, router_config(**settings))
        return f"llmhop-generator {command} {CONFIG}"

    host.succeed(act("provision"), act("apply"))
    told = "llmhop.settings.listen: llmhop.socket is not the one of this configuration"
    for command in ("check", "diff", "apply"):
        assert told in refused(host, act(command, listen=":9000"))
    assert "socketMode: llmhop.socket is not" in refused(host, act("apply", socketMode="0600"))
    host.succeed("curl -fsS http://127.0.0.1:8080/health")

    # A deployer's own socket is the deployer's to change, and provision replaces it.
    host.succeed("sed -i 1d /etc/systemd/system/llmhop.socket", "systemctl daemon-reload")
    host.succeed(act("apply", listen="127.0.0.1:9000"))
    host.succeed("curl -fsS http://127.0.0.1:8080/health")
    steps = host.succeed(act("provision", listen="127.0.0.1:9000")).splitlines()
    assert steps[-1] == "systemctl restart llmhop.socket llmhop.service"
    host.succeed("curl -fsS http://127.0.0.1:9000/health")
    host.fail("curl -fsS http://127.0.0.1:8080/health")


def test_why_llmhop_is_not_up_is_told_in_its_own_words(host: Machine) -> None:
    write(host, CONFIG, router_config())
    host.succeed(f"llmhop-generator provision {CONFIG}", f"llmhop-generator apply {CONFIG}")

    def last_error() -> str:
        """What is told once a start has failed, which systemd goes on trying."""
        host.execute("systemctl restart llmhop.service")
        host.wait_until_succeeds("systemctl show -P SubState llmhop.service | grep -q auto-restart")
        error: str = json.loads(host.succeed("llmhop-generator status --json"))["llmhop"][
            "last_error"
        ]
        assert f": {error}\n" in host.succeed("llmhop-generator status")
        return error

    drop_in, text = "/run/systemd/system/llmhop.service.d/x.conf", "[Service]\nRestartSec=1h\n"
    write(host, drop_in, text)
    host.succeed("systemctl daemon-reload")
    write(host, "/var/lib/llmhop/llmhop.json", '{"listen": "127.0.0.1:1x", "models": {}}')
    assert last_error().startswith("models: has no model")
    for command, told in (
        ("/opt/none", "Failed at step EXEC spawning /opt/none: No such file or directory"),
        ("/bin/sh -c 'echo last; kill -SEGV $$$$'", "it was ended by SIGSEGV; it said last: last"),
        ("/bin/sh -c 'exit 3'", "it ended with exit code 3"),
    ):
        write(host, drop_in, f"{text}Type=simple\nExecStart=\nExecStart={command}\n")
        host.succeed("systemctl daemon-reload", "systemctl reset-failed llmhop.service")
        assert told in last_error()


def test_provision_opens_no_new_address_for_the_configuration_before(host: Machine) -> None:
    write(host, CONFIG, router_config())
    host.succeed(f"llmhop-generator provision {CONFIG}", f"llmhop-generator apply {CONFIG}")
    write(host, CONFIG, router_config(listen=":9000", authTokens=["t0ken"]))
    host.succeed(f"llmhop-generator provision {CONFIG}")
    host.succeed("curl -fsS http://127.0.0.1:8080/v1/models")
    host.fail("curl -sS http://127.0.0.1:9000/v1/models")
    host.succeed(f"llmhop-generator apply {CONFIG}")
    host.fail("curl -fsS http://127.0.0.1:9000/v1/models")
    host.succeed("curl -fsS -H 'Authorization: Bearer t0ken' http://127.0.0.1:9000/v1/models")


def test_llmhop_moves_to_another_address_with_provision_and_apply(host: Machine) -> None:
    def serve(**settings: Any) -> None:
        write(host, CONFIG, router_config(**settings))
        host.succeed(f"llmhop-generator provision {CONFIG}", f"llmhop-generator apply {CONFIG}")
        host.wait_for_unit("llmhop.service")
        assert host.succeed(f"llmhop-generator provision {CONFIG}") == "nothing to do\n"

    serve()
    host.succeed("curl -fsS http://127.0.0.1:8080/health", "systemctl is-active llmhop.socket")
    serve(listen=[":9000", "unix:/srv/llmhop.sock"], socketMode="0666")
    host.succeed("curl -fsS http://[::1]:9000/health", "curl -fsS http://127.0.0.1:9000/health")
    assert host.succeed("stat -c '%a %U %G' /srv/llmhop.sock") == "666 llmhop llmhop\n"
    host.fail("curl -fsS http://127.0.0.1:8080/health")
    serve(listen=["localhost:9001", "unix:/run/llmhop/own.sock"])
    host.succeed("curl -fsS http://127.0.0.1:9001/health")
    host.succeed("curl -fsS --unix-socket /run/llmhop/own.sock http://llmhop/health")
    host.fail("ls /srv/llmhop.sock", "systemctl cat llmhop.socket")
    serve(listen="127.0.0.1:9002")
    host.succeed("curl -fsS http://127.0.0.1:9002/health", "systemctl is-active llmhop.socket")
    host.fail("ls /run/llmhop/own.sock")
