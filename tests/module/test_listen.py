"""What llmhop listens on: the firewall, and addresses and sockets that can't be."""

import json

import pytest
from llmhop_generator.errors import GeneratorError
from llmhop_generator.parse.load import parse_config
from llmhop_generator.router.check import default_llmhop, judge_by

from tests.module.nix import Refused, assert_one_message, evaluate, needs_nix, settings, vllm

pytestmark = needs_nix

FIREWALL = "config.networking.firewall.allowedTCPPorts"
OPEN = "{ services.llmhop.openFirewall = true; }"


@pytest.mark.parametrize(
    ("listen", "ports"),
    [
        ('listen = ":8080";', [8080]),
        ('port = 9000; host = "10.0.0.1";', [9000]),
        (
            'listen = [ "[::]:8443" "127.0.0.1:8080" "gpu.example:81" "unix:/run/llmhop/s" ];',
            [81, 8443],
        ),
    ],
)
def test_the_firewall_opens_for_what_the_network_can_reach(listen: str, ports: list[int]) -> None:
    opened = settings(f"{listen} }}; services.llmhop.openFirewall = true; services.llmhop = {{")
    closed = settings(listen)

    assert evaluate(FIREWALL, vllm(), opened) == ports
    assert evaluate(FIREWALL, vllm(), closed) == []
    assert evaluate("warnings", vllm(), opened) == []


@pytest.mark.parametrize(
    "listen",
    [
        "",
        'listen = [ "127.8.0.1:1" "localhost:2" "[::1]:3" "[0:0:0:0:0:0:0:1]:4" ];',
        'listen = "[::ffff:127.0.0.1]:5";',
        'listen = ":0";',
        'listen = [ "localhost:2" "unix:/run/llmhop/s" ];',
        'host = "::1";',
    ],
)
def test_a_firewall_that_would_open_for_nobody_is_warned_of(listen: str) -> None:
    module = settings(f"{listen} }}; services.llmhop.openFirewall = true; services.llmhop = {{")

    assert evaluate(FIREWALL, vllm(), module) == []
    (warning,) = evaluate("warnings", vllm(), module)
    assert "services.llmhop.openFirewall" in warning
    assert 'services.llmhop.settings.listen = ":8080"' in warning


def test_a_firewall_that_would_open_for_no_llmhop_is_warned_of_where_models_are_served() -> None:
    opened = "{ services.llmhop = { enable = false; openFirewall = true; }; }"

    (warning,) = evaluate("warnings", vllm(), opened)
    assert "services.llmhop.openFirewall opens no port" in warning
    assert "services.llmhop.enable" in warning
    assert evaluate("warnings", opened) == []


@pytest.mark.parametrize(
    "listen",
    ['":99999"', '[ ":8080" "10.0.0.1:65536" ]', '"8080"', '"unix:s"', "[ ]", '[ "127.0.0.1" ]'],
)
def test_an_address_that_is_none_is_told_once_by_its_option(listen: str) -> None:
    modules = [vllm(), settings(f"listen = {listen};"), OPEN]

    # With the types of the firewall, as NixOS reads it.
    assert all(port <= 65535 for port in evaluate(FIREWALL, *modules))
    assert (evaluate("failures", *modules), evaluate("warnings", *modules)) == ([], [])
    contract = json.dumps(evaluate("contract", *modules)).encode()
    with pytest.raises(GeneratorError) as error:
        parse_config(contract, "contract", judge_by(default_llmhop()))
    (told,) = str(error.value).splitlines()[1:]
    assert "llmhop.settings.listen" in told


SOCKET = 'listen = [ "unix:%s" "localhost:8080" ];'


def unit(text: str) -> str:
    """Give a module with more of [Service] of llmhop."""
    return f"{{ lib, ... }}: {{ systemd.services.llmhop.serviceConfig = {{ {text} }}; }}"


READ_WRITE = unit('ReadWritePaths = [ "-/srv /run/a" ];')


@pytest.mark.parametrize(
    "modules",
    [
        [settings(SOCKET % "/run/s")],
        [settings(SOCKET % "/run/llmhop-s")],
        [settings('listen = [ "unix:/run/s" "127.0.0.1:0" ];')],
        [settings(SOCKET % "/run/b/s"), READ_WRITE],
        [settings(SOCKET % "/run/b/s"), unit('BindPaths = "/run/b:/run/c";')],
    ],
    ids=str,
)
def test_a_socket_that_llmhop_would_make_where_it_may_not_write_is_refused(
    modules: list[str],
) -> None:
    names = ["services.llmhop.settings.listen", "unix socket /run/", "/run/llmhop."]
    assert_one_message(Refused([vllm(), *modules], names))


@pytest.mark.parametrize(
    "modules",
    [
        [settings(SOCKET % "/run/llmhop/s")],
        [settings('listen = [ "unix:/run/s" "127.0.0.1:8080" ];')],
        [settings('listen = "unix:/run/s";')],
        [settings(SOCKET % "/srv/s"), READ_WRITE],
        [settings(SOCKET % "/srv/s"), unit('ReadWritePaths = "+/srv";')],
        # Of which the build tells.
        [settings('listen = [ "unix:/run/s" "8080" ];')],
        [settings(SOCKET % "/run/a/s"), READ_WRITE],
        [settings(SOCKET % "/run/a/s"), unit('RuntimeDirectory = lib.mkForce "llmhop a:b";')],
        [settings(SOCKET % "/var/lib/a/s"), unit('StateDirectory = [ "b" "a" ];')],
        [settings(SOCKET % "/var/cache/a/s"), unit('CacheDirectory = "a";')],
        [settings(SOCKET % "/var/log/a/s"), unit('LogsDirectory = "a";')],
        [settings(SOCKET % "/srv/a/s"), unit('BindPaths = "/srv/a";')],
        [settings(SOCKET % "/srv/a/s"), unit('BindPaths = [ "/x" "-/data:/srv/a:rbind" ];')],
        [settings(SOCKET % "/run/a/s"), unit('ReadWritePaths = "%t/a";')],
        [settings(SOCKET % "/run/s"), unit("ProtectSystem = lib.mkForce true;")],
        [settings(SOCKET % "/run/s"), "{ services.llmhop.enable = false; }"],
    ],
    ids=str,
)
def test_a_socket_that_can_be_made_is_not_refused(modules: list[str]) -> None:
    assert evaluate("failures", vllm(), *modules) == []
