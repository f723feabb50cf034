"""What a host can lack for llmhop: its addresses, socket, service, secrets and certificate."""

import pytest

from tests.host.checked_host import (
    CONFIG,
    PROVISIONED,
    READY,
    CheckedHost,
    config,
    ready_though_outdated,
    with_llmhop,
)
from tests.host.setup import write

SOCKET = "/etc/systemd/system/llmhop.socket"
OTHER_SOCKET = "llmhop.settings.listen: llmhop.socket is not the one of this configuration"
DROP_IN = "/etc/systemd/system/llmhop.service.d/secrets.conf"


def test_an_address_of_llmhop_that_another_process_has(host: CheckedHost) -> None:
    pid = host.serve("taken", "python3 -m http.server --bind 127.0.0.1 8081")
    host.machine.wait_for_open_port(8081)
    found, socket = host.findings(with_llmhop(listen=["127.0.0.1:8080", ":8081"]))
    assert socket.startswith(OTHER_SOCKET), socket
    where = "llmhop.settings.listen"
    assert found.startswith(f"{where}: :8081 is taken by python3 (pid {pid})"), found


def test_a_socket_of_llmhop_that_another_process_has(host: CheckedHost) -> None:
    pid = host.serve("taken", "nc -lkU /srv/socket")
    host.at_end("rm /srv/socket")
    host.machine.wait_for_open_unix_socket("/srv/socket")
    socket, found = host.findings(with_llmhop(listen="unix:/srv/socket"))
    assert socket.startswith(OTHER_SOCKET), socket
    where = "llmhop.settings.listen"
    assert found.startswith(f"{where}: unix:/srv/socket is taken by nc (pid {pid})"), found


def test_a_file_where_a_socket_of_llmhop_is_to_be(host: CheckedHost) -> None:
    host.put("/etc/llmhop.sock", "")
    found, socket = host.findings(with_llmhop(listen="unix:/etc/llmhop.sock"))
    assert socket.startswith(OTHER_SOCKET), socket
    where = "llmhop.settings.listen"
    assert found.startswith(f"{where}: /etc/llmhop.sock is there and is no socket"), found


@pytest.mark.parametrize("listen", [":9000", "localhost:9000", ["127.0.0.1:8080", ":9000"]])
def test_a_socket_for_other_addresses(host: CheckedHost, listen: object) -> None:
    found = host.finding(with_llmhop(listen=listen, socketMode="0600"))
    assert found.startswith(OTHER_SOCKET), found
    assert "llmhop-generator provision" in found


def test_a_socket_of_another_mode(host: CheckedHost) -> None:
    found = host.finding(with_llmhop(socketMode="0600"))
    assert found.startswith("llmhop.settings.socketMode: llmhop.socket is not the one of"), found


def test_no_socket_where_systemd_is_to_open_it(host: CheckedHost) -> None:
    host.hide(SOCKET)
    found = host.finding(with_llmhop(listen="127.0.0.1:8080"))
    assert found.startswith(OTHER_SOCKET), found
    told = ready_though_outdated("llmhop.service")
    assert host.check(with_llmhop(listen="localhost:8080")) == (0, told)


def test_a_socket_of_the_deployers_own(host: CheckedHost) -> None:
    host.put(SOCKET, "[Socket]\nListenStream=8080\n")
    assert host.check(with_llmhop(listen=":9000")) == (0, READY)


def test_what_llmhop_itself_listens_on_is_not_taken(host: CheckedHost) -> None:
    machine, text = host.machine, with_llmhop(listen=["127.0.0.1:8080", ":8081"])
    write(machine, CONFIG, text)
    host.change(
        f"llmhop-generator provision {CONFIG} && llmhop-generator apply {CONFIG}",
        "systemctl stop llmhop.socket llmhop.service && rm -r /var/lib/llmhop/* "
        f"&& llmhop-generator provision {PROVISIONED}",
    )
    machine.wait_for_open_port(8081)
    assert host.check(text) == (0, READY)
    # Without its socket llmhop opens them itself.
    machine.succeed("systemctl disable --now llmhop.socket", "systemctl restart llmhop.service")
    machine.wait_for_open_port(8081)
    assert host.check(text) == (0, READY)


def test_apply_tells_of_a_host_that_was_provisioned_for_another_configuration(
    host: CheckedHost,
) -> None:
    machine, other = host.machine, "/root/other.json"
    write(machine, CONFIG, with_llmhop())
    write(machine, other, with_llmhop(listen=":9000"))
    host.change(
        f"llmhop-generator provision {CONFIG} && llmhop-generator apply {CONFIG}",
        f"systemctl stop llmhop.socket llmhop.service && rm -r /var/lib/llmhop/* {other} "
        f"&& llmhop-generator provision {PROVISIONED}",
    )
    assert machine.succeed(f"llmhop-generator apply {CONFIG}") == "nothing to do\n"
    machine.succeed(f"llmhop-generator provision {other}")
    code, output = machine.execute(f"llmhop-generator apply {CONFIG} 2>&1")
    assert code == 1, output
    assert "llmhop.socket is not the one of this configuration" in output
    machine.succeed(f"llmhop-generator provision {CONFIG}")
    assert machine.succeed(f"llmhop-generator apply {CONFIG}") == "nothing to do\n"


def test_llmhop_has_no_group(host: CheckedHost) -> None:
    groups = host.machine.succeed("grep -v ^llmhop: /etc/group")
    host.put("/etc/group", groups)
    found = host.finding(config())
    assert found.startswith("llmhop.enable: the group llmhop does not"), found
    assert "llmhop-generator provision" in found


def test_llmhop_has_no_service(host: CheckedHost) -> None:
    host.at_end("systemctl daemon-reload")
    host.hide("/etc/systemd/system/llmhop.service")
    host.machine.succeed("systemctl daemon-reload")
    found = host.finding(config())
    assert found.startswith("llmhop.enable: llmhop.service is not on this"), found
    assert "llmhop-generator provision" in found


@pytest.fixture
def with_secrets(host: CheckedHost) -> CheckedHost:
    """llmhop's service has a credential from /etc/token, and variables."""
    unit = "[Service]\nLoadCredential=token:/etc/token\nEnvironment=KEY=x 'A=b c'\n"
    host.at_end("systemctl daemon-reload")
    host.put(DROP_IN, unit)
    host.machine.succeed("systemctl daemon-reload")
    return host


SECRETS = ["${file:token}", "${env:KEY}", "$A"]


def test_secrets_that_llmhops_service_has(with_secrets: CheckedHost) -> None:
    with_secrets.put("/etc/token", "t", mode="600")
    assert with_secrets.check(with_llmhop(authTokens=SECRETS)) == (0, READY)


def test_a_credential_that_llmhops_service_can_not_be_given(with_secrets: CheckedHost) -> None:
    found = with_secrets.finding(with_llmhop(authTokens=SECRETS))
    assert found.startswith("llmhop.enable: llmhop.service can't be given its credentials"), found


def test_secrets_that_llmhops_service_does_not_have(with_secrets: CheckedHost) -> None:
    for path in ("/etc/token", "/etc/closed"):
        with_secrets.put(path, "t", mode="600")
    asked = ["${file:tokn}", "${env:KEY}", "${file:/etc/closed}", "$B"]
    absent, closed, unset = with_secrets.findings(with_llmhop(authTokens=asked))
    where = "llmhop.settings.authTokens"
    assert absent.startswith(f"{where}[0]: "), absent
    assert "(No such file or directory: /run/credentials/llmhop.service/tokn)" in absent
    assert closed.startswith(f"{where}[2]: "), closed
    assert "can't be read (Permission denied" in closed
    assert unset.startswith(f"{where}[3]: $B refers to an environment variable"), unset


def test_a_certificate_that_llmhop_can_not_use(with_secrets: CheckedHost) -> None:
    with_secrets.put("/etc/token", "t", mode="600")
    tls = {"certificate": "/etc/passwd", "key": "token"}
    found = with_secrets.finding(with_llmhop(tls=tls))
    assert found.startswith("llmhop.settings.tls: "), found
    assert "no usable certificate" in found
