"""Ports of models and of llmhop: what is wrong with one is told in one message."""

import json

import pytest
from llmhop_generator.errors import GeneratorError
from llmhop_generator.parse.load import parse_config

from tests.module.nix import (
    Refused,
    V,
    assert_one_message,
    evaluate,
    model,
    needs_nix,
    settings,
    vllm,
)

pytestmark = needs_nix

UNPRIVILEGED = '{ boot.kernel.sysctl."net.ipv4.ip_unprivileged_port_start" = %s; }'

REFUSED = {
    "two models on one port": Refused(
        [vllm(models=model("a", 18001) + model("qwen3.6", 18001))],
        [f"{V}.models.a.port", f'{V}.models."qwen3.6".port', "18001"],
    ),
    "three models on one port": Refused(
        [vllm(models=model("a", 18001) + model("b", 18001) + model("c", 18001))],
        [f"{V}.models.a.port", f"{V}.models.b.port", f"{V}.models.c.port"],
    ),
    "port 0": Refused([vllm(models=model("a", 0))], [f"{V}.models.a.port is 0", "1 to 65535"]),
    "a port that only root may open": Refused(
        [vllm(models=model("qwen3.6", 80))],
        [f'{V}.models."qwen3.6".port is 80', "net.ipv4.ip_unprivileged_port_start", "1024"],
    ),
    "a port below a lower limit": Refused(
        [vllm(models=model("a", 80) + model("b", 81)), UNPRIVILEGED % '"81"'],
        [f"{V}.models.a.port is 80", "below 81"],
    ),
    "a privileged port that llmhop would open itself": Refused(
        [vllm(), settings('listen = [ "localhost:80" "127.0.0.1:80" ];')],
        ["services.llmhop.settings.listen has port 80", "host names"],
    ),
    "llmhop's default port": Refused(
        [vllm(models=model("a", 8080))],
        [f"{V}.models.a.port", "8080", "services.llmhop.settings.port"],
    ),
    "llmhop's port of settings.port": Refused(
        [vllm(models=model("a", 9000)), settings("port = 9000;")],
        [f"{V}.models.a.port", "9000", "services.llmhop.settings.port"],
    ),
    "llmhop's port of host and port in listen": Refused(
        [vllm(models=model("a", 9000)), settings('listen = "127.0.0.1:9000";')],
        [f"{V}.models.a.port", "9000", "services.llmhop.settings.listen"],
    ),
    "llmhop's port of a bare port in listen": Refused(
        [vllm(models=model("a", 9000)), settings('listen = ":09000";')],
        [f"{V}.models.a.port", "9000", "services.llmhop.settings.listen"],
    ),
    "one of llmhop's ports": Refused(
        [
            vllm(models=model("a", 9000)),
            settings('listen = [ "unix:/run/llmhop/s" ":2000" "h:9000" ];'),
        ],
        [f"{V}.models.a.port", "9000", "services.llmhop.settings.listen"],
    ),
    "two models on a port that only root may open": Refused(
        [vllm(models=model("a", 80) + model("b", 80))],
        [f"{V}.models.a.port", f"{V}.models.b.port", "below 1024", "of its own from 1024 on"],
    ),
    "two models on port 0": Refused(
        [vllm(models=model("a", 0) + model("b", 0))],
        [f"{V}.models.a.port", f"{V}.models.b.port", "any free port", "from 1 to 65535"],
    ),
    "a port below a higher limit": Refused(
        [vllm(models=model("a", 1500)), UNPRIVILEGED % 2000],
        [f"{V}.models.a.port is 1500", "below 2000", "from 2000 on"],
    ),
    "two models on llmhop's port": Refused(
        [vllm(models=model("a", 8080) + model("b", 8080))],
        [f"{V}.models.a.port", f"{V}.models.b.port", "services.llmhop.settings.port"],
    ),
    "a model on a port of llmhop's that only root may open": Refused(
        [vllm(models=model("a", 80)), settings('listen = ":80";')],
        [f"{V}.models.a.port is 80", "services.llmhop.settings.listen"],
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_a_port_that_cannot_be_gives_one_message_that_names_the_option(case: Refused) -> None:
    assert_one_message(case)


ALLOWED = {
    "a disabled model on a taken port": [
        vllm(models=model("a", 18001) + model("b", 18001, "enable = false;"))
    ],
    "port 8080 where llmhop listens elsewhere": [
        vllm(models=model("a", 8080)),
        settings('listen = "127.0.0.1:9000";'),
    ],
    "port 8080 without llmhop": [
        vllm(models=model("a", 8080)),
        "{ services.llmhop.enable = false; }",
    ],
    "a privileged port that everybody may open": [
        vllm(models=model("a", 80)),
        UNPRIVILEGED % 80,
    ],
    "privileged ports that systemd opens": [vllm(), settings('listen = [ ":80" "[::1]:443" ];')],
    "a disabled model on a privileged port": [
        vllm(models=model("a", 80, "enable = false;") + model("b", 18001))
    ],
    "any free port, which llmhop opens itself": [vllm(), settings('listen = "localhost:0";')],
    "any port where everybody may open all": [vllm(models=model("a", 1)), UNPRIVILEGED % "false"],
    "a privileged port where few are": [vllm(models=model("a", 1)), UNPRIVILEGED % "true"],
}


@pytest.mark.parametrize("modules", ALLOWED.values(), ids=ALLOWED.keys())
def test_a_port_that_can_be_is_not_refused(modules: list[str]) -> None:
    assert evaluate("failures", *modules) == []
    assert evaluate("warnings", *modules) == []


@pytest.mark.parametrize("value", ["foo", "", "-1", "0x50", "80 81", "123456"])
def test_a_sysctl_that_is_no_port_is_told_by_its_option(value: str) -> None:
    assert_one_message(
        Refused(
            [vllm(), UNPRIVILEGED % f'"{value}"'],
            ['boot.kernel.sysctl."net.ipv4.ip_unprivileged_port_start"', f"`{value}`"],
        )
    )


HOSTS = {
    "": True,
    "0.0.0.0": True,  # noqa: S104
    "127.0.0.1": True,
    "127.0.0.2": False,
    "10.0.0.1": False,
    "[::]": True,
    "[0:0:0:0:0:0:0:0]": True,
    "[::1]": False,
    "[fe80::1]": False,
    "[::ffff:127.0.0.1]": True,
    "[::FFFF:0:0]": True,
    "localhost": True,
    "gpu.example": True,  # which may be any of the host's addresses
}
"""Hosts that llmhop listens on, and whether one takes a port of 127.0.0.1, where models are."""


@pytest.mark.parametrize(("host", "takes"), HOSTS.items())
def test_a_port_is_taken_only_where_llmhop_has_it_on_the_address_of_the_models(
    host: str, takes: bool
) -> None:
    modules = [vllm(models=model("a", 9000)), settings(f'listen = "{host}:9000";')]
    contract = evaluate("config.services.llmhop.contract", *modules)
    try:
        parse_config(json.dumps(contract).encode(), "contract")
        told = False
    except GeneratorError:
        told = True

    assert (evaluate("failures", *modules) != []) is told is takes
