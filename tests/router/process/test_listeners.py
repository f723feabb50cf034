"""What llmhop listens on: several addresses, IPv6, unix sockets, systemd's sockets, TLS."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from tests.router.conftest import StartBackend
from tests.router.support.certificates import Authority
from tests.router.support.endpoints import MODELS, TIMEOUT, Wire, chat, post
from tests.router.support.process import Process, Run, llmhop


def unix_wire(path: Path) -> Wire:
    """A client on a unix socket."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(TIMEOUT)
    client.connect(str(path))
    return Wire(client)


def addresses(process: Process) -> list[str]:
    """The addresses that the status names."""
    return process.status.partition(" on ")[2].split(", ")


def served(wire: Wire) -> bool:
    with wire:
        wire.send(b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n")
        return wire.response().status == 200


def test_every_address_in_the_list_is_listened_on(run: Run, tmp_path: Path) -> None:
    listen = ["127.0.0.1:0", "[::1]:0", f"unix:{tmp_path}/r.sock"]
    process = run({"models": MODELS, "listen": listen})
    four, six, unix = addresses(process)
    assert unix == f"unix:{tmp_path}/r.sock"
    assert served(Wire(int(four.rpartition(":")[2])))
    assert six.startswith("http://[::1]:")
    assert served(Wire(int(six.rpartition(":")[2]), "::1"))
    assert served(unix_wire(tmp_path / "r.sock"))


def test_every_interface_means_ipv4_and_ipv6_on_one_port(run: Run) -> None:
    process = run({"models": MODELS, "listen": ":0"})
    assert len(addresses(process)) == 2
    for host in ("127.0.0.1", "::1"):
        assert served(Wire(process.port, host))


@pytest.mark.parametrize(("mode", "expected"), [(None, 0o660), ("0600", 0o600), ("666", 0o666)])
def test_a_unix_socket_has_the_mode_of_the_config_and_goes_with_llmhop(
    mode: str | None, expected: int, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "r.sock"
    process = run({"models": MODELS, "listen": f"unix:{path}", "socketMode": mode})
    assert stat.S_IMODE(path.stat().st_mode) == expected
    process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(TIMEOUT) == 0
    assert not path.exists()


def test_a_socket_that_a_killed_llmhop_left_is_replaced(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    first = run({"models": MODELS, "listen": f"unix:{path}"})
    first.process.kill()
    first.process.wait(TIMEOUT)
    assert path.is_socket()
    run({"models": MODELS, "listen": f"unix:{path}"})
    assert served(unix_wire(path))


def test_a_socket_in_use_and_a_file_are_left_alone(tmp_path: Path) -> None:
    used, file, config = tmp_path / "used.sock", tmp_path / "file", tmp_path / "llmhop.json"
    file.write_text("mine")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(used))
        other.listen()
        reasons = {used: "Address already in use", file: "a file that is not a socket"}
        for path, reason in reasons.items():
            config.write_text(json.dumps({"models": MODELS, "listen": f"unix:{path}"}))
            done = llmhop("--config", str(config))
            assert done.returncode == 1
            assert done.stderr.startswith(f"listen: can't bind unix:{path} (")
            assert reason in done.stderr
            assert len(done.stderr.splitlines()) == 1
    assert file.read_text() == "mine"
    assert used.is_socket()


def test_every_address_that_can_not_be_bound_is_told_at_once(tmp_path: Path) -> None:
    config = tmp_path / "llmhop.json"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config.write_text(
            '{"models": {"m": {"url": "http://h"}},'
            f'"listen": ["{address}", "unix:/no/such/r.sock", "127.0.0.1:0"]}}'
        )
        done = llmhop("--config", str(config))
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith(f"listen: can't bind {address} (Address already in use); ")
    assert second.startswith("listen: can't bind unix:/no/such/r.sock (No such file or directory)")


@pytest.mark.parametrize(
    ("first", "second"),
    [("127.0.0.1:%d", ":%d"), (":%d", "127.0.0.1:%d"), (":%d", "[::]:%d"), ("0.0.0.0:%d", ":%d")],
)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("secure", [False, True])
def test_addresses_that_are_one_to_the_kernel_are_refused(
    first: str, second: str, workers: int, secure: bool, authority: Authority, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listen = [first % port, second % port]
    tls = {"tls": authority.config()["tls"]} if secure else {}
    config = tmp_path / "llmhop.json"
    config.write_text(json.dumps({"models": MODELS, "listen": listen, "workers": workers, **tls}))
    for arguments in ([], ["--check"]):
        done = llmhop(*arguments, "--config", str(config))
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        one, other = [re.sub(r"^:", "*:", address) for address in listen]
        both = f"{one} and {other} are one address to the kernel"
        assert line == f"listen[1]: {both}; remove one of the two"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("secure", [False, True])
def test_a_name_of_an_address_that_is_listed_too_is_refused_at_the_start(
    workers: int, secure: bool, authority: Authority, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    tls = {"tls": authority.config()["tls"]} if secure else {}
    config = tmp_path / "llmhop.json"
    listen = [f"127.0.0.1:{port}", f"localhost:{port}"]
    config.write_text(json.dumps({"models": MODELS, "listen": listen, "workers": workers, **tls}))
    done = llmhop("--config", str(config))
    assert done.returncode == 1
    assert done.stderr == (
        f"listen: 127.0.0.1:{port} and localhost:{port} are one address to the kernel; "
        "remove one of the two\n"
    )


@pytest.mark.parametrize("listen", [["127.0.0.1:0", ":0"], ["0.0.0.0:%d", "[::]:%d"]])
def test_addresses_of_two_families_and_of_any_port_are_several(listen: list[str], run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = run({"models": MODELS, "listen": [a.replace("%d", str(port)) for a in listen]})
    assert len(addresses(process)) == len(listen) + ("0" in listen[1])


def test_sockets_that_systemd_passes_replace_those_of_the_config(
    run: Run, tmp_path: Path, start_backend: StartBackend
) -> None:
    path = tmp_path / "r.sock"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
        unix.listen()
        port = tcp.getsockname()[1]
        config = {"models": {"m": {"url": start_backend().url}}, "listen": "127.0.0.1:1"}
        process = run(config, [tcp, unix])
        assert addresses(process) == [f"http://127.0.0.1:{port}", f"unix:{path}"]
        assert served(unix_wire(path))
        with Wire(port) as wire:
            wire.send(post(chat()))
            assert wire.response().body == chat()
        process.process.send_signal(signal.SIGTERM)
        assert process.process.wait(TIMEOUT) == 0
        assert path.is_socket()  # it is systemd's to remove


def test_a_client_that_comes_between_two_processes_is_served_by_the_next(
    run: Run, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as passed:
        first = run({"models": MODELS}, [passed])
        first.process.send_signal(signal.SIGTERM)
        assert first.process.wait(TIMEOUT) == 0
        with Wire(passed.getsockname()[1]) as wire:
            wire.send(b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n")
            run({"models": MODELS}, [passed])
            assert wire.response().status == 200


def test_sockets_meant_for_another_process_are_not_taken(run: Run) -> None:
    process = run({"models": MODELS}, LISTEN_PID="1", LISTEN_FDS="1")
    assert served(Wire(process.port))


def start_with_sockets(count: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Start llmhop as systemd would, with a socket that does not listen."""
    config = tmp_path / "llmhop.json"
    config.write_text('{"models": {"m": {"url": "http://h"}}}')
    script = (
        "import os, socket, sys\n"
        "sock = socket.socket()\n"
        "os.dup2(os.dup(sock.fileno()), 3)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=sys.argv[2])\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'llmhop', '--config', sys.argv[1]])\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script, str(config), count],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


@pytest.mark.parametrize(
    ("count", "told"),
    [
        ("1", "LISTEN_FDS: passes something (descriptor 3) that is no"),
        *[(word, "LISTEN_FDS: is no number of descriptors; ") for word in ("a", "-1", "9" * 5000)],
    ],
)
def test_passed_sockets_that_are_none_are_refused(count: str, told: str, tmp_path: Path) -> None:
    done = start_with_sockets(count, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(told)
    assert done.stderr.count("\n") == 1


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def peer(wire: Wire) -> bytes:
    """The certificate that the server showed."""
    assert isinstance(wire.socket, ssl.SSLSocket)
    found = wire.socket.getpeercert(binary_form=True)
    assert found is not None
    return found


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_tls_listener_serves_http_1_1_and_tells_the_backend_of_https(
    version: ssl.TLSVersion, run: Run, start_backend: StartBackend, authority: Authority
) -> None:
    backend = start_backend()
    process = run({"models": {"m": {"url": backend.url}}, **authority.config()})
    assert addresses(process) == [f"https://127.0.0.1:{process.port}"]
    with authority.wire(process.port, version) as wire:
        assert isinstance(wire.socket, ssl.SSLSocket)
        assert wire.socket.version() == ("TLSv1.2" if version.name == "TLSv1_2" else "TLSv1.3")
        assert wire.socket.selected_alpn_protocol() == "http/1.1"
        for _ in range(2):
            wire.send(post(chat()))
            assert wire.response().body == chat()
    assert backend.requests[0].values("x-forwarded-proto") == ["https"]
    assert backend.connections == 1


def test_a_refused_request_is_answered_over_tls_and_the_connection_ends(
    run: Run, authority: Authority
) -> None:
    process = run({"models": MODELS, "maxBodyBytes": 10, **authority.config()})
    with authority.wire(process.port) as wire:
        wire.send(post(b"x" * 11))
        assert wire.response().status == 413
    with authority.wire(process.port) as wire:
        wire.send(b"nonsense\r\n\r\n")
        assert wire.response().status == 400
    assert "Traceback" not in process.end()


def test_a_unix_socket_beside_a_tls_listener_stays_plain(
    run: Run, start_backend: StartBackend, authority: Authority, tmp_path: Path
) -> None:
    backend = start_backend()
    path = tmp_path / "r.sock"
    listen = ["127.0.0.1:0", f"unix:{path}"]
    run({"models": {"m": {"url": backend.url}}, "listen": listen, **authority.config()})
    with unix_wire(path) as wire:
        wire.send(post(chat()))
        assert wire.response().status == 200
    assert backend.requests[0].values("x-forwarded-proto") == ["http"]


def test_a_reload_takes_a_renewed_certificate_and_keeps_connections(
    run: Run, authority: Authority
) -> None:
    process = run({"models": MODELS, **authority.config()})
    with authority.wire(process.port) as old:
        before = peer(old)
        authority.renew()
        with authority.wire(process.port) as wire:
            assert peer(wire) == before  # not before the reload
        for _ in range(2):
            process.reload()
            with authority.wire(process.port) as wire:
                renewed = peer(wire)
                assert renewed != before
            before = renewed
            authority.renew()
        authority.certificate.write_text("nonsense")
        process.reload()
        with authority.wire(process.port) as wire:
            assert peer(wire) == before
        assert served(old)
    log = process.end()
    assert "tls: holds no usable certificate and key" in log
    assert log.count("reloaded, serves 1 model") == 2


def test_tls_can_not_be_turned_on_by_a_reload(run: Run, authority: Authority) -> None:
    process = run({"models": MODELS})
    process.write({"models": MODELS, "listen": "127.0.0.1:0", **authority.config()})
    process.reload()
    assert served(Wire(process.port))
    assert "tls was changed: this takes effect after a restart" in process.end()


def test_relative_paths_of_a_certificate_start_at_the_credentials(
    run: Run, authority: Authority, tmp_path: Path
) -> None:
    tls = {"certificate": "cert.pem", "key": "key.pem"}
    process = run({"models": MODELS, "tls": tls}, CREDENTIALS_DIRECTORY=str(tmp_path))
    assert served(authority.wire(process.port))


def test_a_certificate_that_can_not_be_used_is_refused_by_the_check(
    authority: Authority, tmp_path: Path
) -> None:
    config, other = tmp_path / "llmhop.json", tmp_path / "other.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_pem.write_to_path(other)
    encrypted = tmp_path / "encrypted.pem"
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", other, "-out", encrypted, "-passout", "pass:x"],
        check=True,
    )
    text = tmp_path / "text.pem"
    text.write_text("no pem")
    for key, line in (
        (other, "tls.key: is not the key of tls.certificate; give the key that"),
        (encrypted, "tls.key: is encrypted; make it a PEM file"),
        (text, "tls: holds no usable certificate and key ("),
        (tmp_path, f"tls.key: can't be read (Is a directory: {tmp_path}); make it a PEM file"),
    ):
        config.write_text(
            '{"models": {"m": {"url": "http://h"}},'
            f'"tls": {{"certificate": "{authority.certificate}", "key": "{key}"}}}}'
        )
        done = llmhop("--check", "--config", str(config))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(line), done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_client_that_never_shakes_hands_holds_up_nobody(run: Run, authority: Authority) -> None:
    process = run({"models": MODELS, **authority.config()})
    with Wire(process.port) as silent, Wire(process.port) as plain:
        plain.send(b"GET /health HTTP/1.1\r\nHost: r\r\n\r\n")
        assert plain.at_end()
        assert served(authority.wire(process.port))
        silent.close()
    process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(TIMEOUT) == 0
    assert "Traceback" not in process.end()
