"""What a configuration becomes: units, the router's configuration, a host's files."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from llmhop.config.parser import parse as parse_router_config
from llmhop.config.tls import load_certificate
from llmhop_generator.cli.write_tree import write_tree
from llmhop_generator.contract.text import unrepresentable
from llmhop_generator.parse.load import parse_config
from llmhop_generator.render.quadlet import container_line
from llmhop_generator.render.tree import render_tree

from tests.generator.conftest import Command
from tests.generator.support.contracts import EXAMPLES, parse

ConfigFile = Callable[[Any], Path]


def tree_of(config: Any) -> dict[str, str]:
    return render_tree(parse(config), "/usr/bin/llmhop")


def lines_of(config: Any, model: str = "qwen2-5-7b") -> list[str]:
    return tree_of(config)[f"quadlet/vllm-{model}.container"].splitlines()


def test_each_enabled_model_has_one_file(minimal: dict[str, Any]) -> None:
    minimal["vllm"]["models"]["off"] = {"model": "m", "port": 1, "enable": False}
    minimal["vllm"]["models"]["b.c"] = {"model": "m", "port": 2000}
    quadlets = [path for path in tree_of(minimal) if path.startswith("quadlet/")]
    assert quadlets == ["quadlet/vllm-b.c.container", "quadlet/vllm-qwen2-5-7b.container"]


def test_rendering_is_the_same_every_time(
    generator: Command, config_file: ConfigFile, minimal: dict[str, Any], tmp_path: Path
) -> None:
    config = config_file(minimal)
    for name in ("one", "two"):
        assert generator("render", config, "-o", tmp_path / name).returncode == 0
    one, two = (
        {
            p.relative_to(tmp_path / n): p.read_bytes()
            for p in (tmp_path / n).rglob("*")
            if p.is_file()
        }
        for n in ("one", "two")
    )
    assert one
    assert one == two


REMOTE = {"models": {"far": {"url": "http://far"}}}
VARIANTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "as it is": lambda config: config,
    "another model": lambda config: (
        config | {"vllm": config["vllm"] | {"models": {"b": {"model": "m", "port": 18002}}}}
    ),
    "another uid": lambda config: config | {"vllm": config["vllm"] | {"uid": 504}},
    "another user": lambda config: config | {"vllm": config["vllm"] | {"user": "ai"}},
    "without llmhop": lambda config: config | {"llmhop": {"enable": False}},
    "llmhop opens its sockets": lambda config: (
        config | {"llmhop": {"settings": {"listen": "localhost:8080"}}}
    ),
    "without vLLM": lambda _: {"version": 1, "llmhop": {"enable": True, "settings": REMOTE}},
    "nothing": lambda _: {"version": 1},
}


def tree(directory: Path) -> dict[Path, bytes]:
    """All that is in a directory: files with their content, directories with none."""
    return {
        path.relative_to(directory): path.read_bytes() if path.is_file() else b""
        for path in directory.rglob("*")
    }


@pytest.mark.parametrize("after", VARIANTS)
@pytest.mark.parametrize("before", VARIANTS)
def test_rendering_again_leaves_what_rendering_anew_writes(
    before: str, after: str, minimal: dict[str, Any], tmp_path: Path
) -> None:
    def rendered(name: str) -> dict[str, str]:
        data = json.dumps(VARIANTS[name](deepcopy(minimal))).encode()
        return render_tree(parse_config(data, "config.json"), "llmhop")

    write_tree(tmp_path / "again", rendered(before))
    write_tree(tmp_path / "again", rendered(after))
    write_tree(tmp_path / "anew", rendered(after))
    assert tree(tmp_path / "again") == tree(tmp_path / "anew")


def test_rendering_leaves_what_is_not_ours(
    generator: Command, config_file: ConfigFile, minimal: dict[str, Any], tmp_path: Path
) -> None:
    quadlets, host = tmp_path / "quadlet", tmp_path / "host/systemd/system"
    for path in (quadlets / "mine.container", quadlets / "notes", host / "mine.service"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[Container]\n")
    mine = tree(tmp_path)
    assert generator("render", config_file(minimal), "-o", tmp_path).returncode == 0
    assert tree(tmp_path).items() >= mine.items()
    assert (quadlets / "vllm-qwen2-5-7b.container").exists()


def test_a_tag_may_move_on_and_a_digest_not(minimal: dict[str, Any]) -> None:
    lines = lines_of(minimal)
    assert "Image=docker.io/vllm/vllm-openai:v0.11.0" in lines
    assert "Pull=newer" in lines
    digest = "sha256:" + "a" * 64
    minimal["vllm"]["models"]["qwen2-5-7b"]["digest"] = digest
    lines = lines_of(minimal)
    assert f"Image=docker.io/vllm/vllm-openai@{digest}" in lines
    assert "Pull=missing" in lines


VLLMS_OWN = "docker.io/vllm/vllm-openai"


@pytest.mark.parametrize(
    ("image", "tag", "drains"),
    [
        (VLLMS_OWN, "v0.17.1", False),
        (VLLMS_OWN, "v0.18.0", True),
        (VLLMS_OWN, "v0.18.0rc1", True),
        (VLLMS_OWN, "v1.0-cpu", True),
        (VLLMS_OWN, "0.20.1", True),
        (VLLMS_OWN, "v0.20.1-cu129", True),
        (VLLMS_OWN, "nightly", False),
        (VLLMS_OWN, "latest", False),
        (VLLMS_OWN, "v018", False),
        (VLLMS_OWN, "v0.18x", False),
        ("vllm/vllm-openai", "v0.18.0", True),
        ("vllm/vllm-openai-rocm", "v0.18.0", True),
        ("docker.io/vllm/vllm-openai-cpu", "v0.23.0", True),
        ("docker.io/vllm/vllm-openai-xpu", "v0.17.0", False),
        ("public.ecr.aws/q9t5s3a7/vllm-cpu-release-repo", "v0.18.0", True),
        ("public.ecr.aws/q9t5s3a7/vllm-arm64-cpu-release-repo", "v0.18.0", True),
        ("mirror.gcr.io/vllm/vllm-openai", "v0.18.0", True),
        ("registry.example:5000/dockerhub/vllm/vllm-openai-rocm", "v0.18.0", True),
        ("nvcr.io/nvidia/vllm", "25.09-py3", False),
        ("registry.redhat.io/rhaiis/vllm-cuda-rhel9", "3.2.1", False),
        ("docker.io/rocm/vllm", "v0.20.0", False),
        ("rocm/vllm-dev", "nightly_0.20", False),
        ("ghcr.io/someone/vllm-openai", "v0.20.0", False),
        ("docker.io/notvllm/vllm-openai", "v0.20.0", False),
        ("docker.io/vllm/vllm-omni", "v0.20.0", False),
        ("localhost/vllm-openai", "v0.20.0", False),
        ("vllm-openai", "v0.20.0", False),
    ],
)
def test_requests_are_drained_where_that_vllm_knows_how(
    minimal: dict[str, Any], image: str, tag: str, drains: bool
) -> None:
    minimal["vllm"] |= {"tag": tag, "image": image}
    lines = lines_of(minimal)
    assert any("--shutdown-timeout=20" in line for line in lines) is drains
    quiet = "--disable-access-log-for-endpoints=/health"
    assert any(quiet in line for line in lines) is drains
    assert "StopTimeout=30" in lines
    minimal["vllm"]["models"]["qwen2-5-7b"]["digest"] = "sha256:" + "a" * 64
    assert not any("shutdown" in line for line in lines_of(minimal))


@pytest.mark.parametrize("key", ["shutdown-timeout", "shutdown_timeout"])
@pytest.mark.parametrize("value", [300, "300", [300], " 300 "])
@pytest.mark.parametrize("place", ["modelSettings", "settings"])
@pytest.mark.parametrize("image", [VLLMS_OWN, "docker.io/rocm/vllm"])
def test_a_longer_drain_has_the_time_that_it_asks_for(
    minimal: dict[str, Any], key: str, value: Any, place: str, image: str
) -> None:
    minimal["vllm"] |= {"tag": "v0.20.0", "image": image}
    (model,) = minimal["vllm"]["models"].values()
    (model if place == "settings" else minimal["vllm"])[place] = {key: value}
    lines = lines_of(minimal)
    assert [line.count("shutdown") for line in lines if line.startswith("Exec=")] == [1]
    assert "StopTimeout=310" in lines
    assert "TimeoutStopSec=620" in lines


@pytest.mark.parametrize("value", [0, 5, "0", None, False, True, "soon", 300.0, {"a": 1}])
def test_a_drain_that_is_short_or_that_vllm_refuses_leaves_the_time_to_stop(
    minimal: dict[str, Any], value: Any
) -> None:
    minimal["vllm"] |= {"tag": "v0.20.0", "modelSettings": {"shutdown-timeout": value}}
    lines = lines_of(minimal)
    assert not any("--shutdown-timeout=20" in line for line in lines)
    assert "StopTimeout=30" in lines


def test_a_model_starts_after_every_one_with_a_lower_port(minimal: dict[str, Any]) -> None:
    minimal["vllm"]["models"] |= {
        "b": {"model": "m", "port": 18002},
        "c": {"model": "m", "port": 18003},
    }
    assert "After=vllm-qwen2-5-7b.service vllm-b.service" in lines_of(minimal, "c")
    minimal["vllm"]["startupOrdering"] = False
    assert not any(line.startswith("After=") for line in lines_of(minimal, "c"))


def test_starts_are_tried_for_more_than_two_minutes(minimal: dict[str, Any]) -> None:
    """However fast they fail: a device may come late at boot."""
    keys = dict(line.split("=", 1) for line in lines_of(minimal) if "=" in line)
    first, later = int(keys["RestartSec"]), int(keys["RestartMaxDelaySec"])
    steps, starts = int(keys["RestartSteps"]), int(keys["StartLimitBurst"])
    # systemd.service(5), RestartSteps=: after as many restarts the delay is the longest one.
    assert steps * first + (starts - 1 - steps) * later > 120


def test_a_deployers_delay_is_that_of_every_restart(minimal: dict[str, Any]) -> None:
    minimal["vllm"]["serviceConfig"] = {"RestartSec": 5}
    assert not any("RestartMaxDelaySec" in line for line in lines_of(minimal))


def test_the_start_limit_can_trip(minimal: dict[str, Any]) -> None:
    keys = dict(line.split("=", 1) for line in lines_of(minimal) if "=" in line)
    start = int(keys["TimeoutStartSec"]) + int(keys["RestartMaxDelaySec"])
    assert start * int(keys["StartLimitBurst"]) <= int(keys["StartLimitIntervalSec"])
    assert int(keys["StopTimeout"]) < int(keys["TimeoutStopSec"])


def test_a_models_environment_wins_and_its_file_comes_last(minimal: dict[str, Any]) -> None:
    minimal["vllm"] |= {"environment": {"A": "1", "B": "1"}, "environmentFile": "/etc/all.env"}
    minimal["vllm"]["models"]["qwen2-5-7b"] |= {
        "environment": {"B": "2"},
        "environmentFile": "/etc/one.env",
    }
    lines = lines_of(minimal)
    assert [line for line in lines if line.startswith("Environment")] == [
        "Environment=A=1",
        "Environment=B=2",
        "EnvironmentFile=/etc/all.env",
        "EnvironmentFile=/etc/one.env",
    ]


@pytest.mark.parametrize("text", ["a\nb", "a\0b", "\ud800", "\ufdd0", "\U0001ffff", "\x80"])
def test_what_no_unit_file_can_hold_is_never_written(text: str) -> None:
    assert unrepresentable(text)
    with pytest.raises(ValueError, match="Environment"):
        container_line("Environment", f"A={text}")


@pytest.mark.parametrize(("key", "value"), [("Volume", "/a\\"), ("Image", ' "x"'), ("Exec", ";")])
def test_what_podman_would_alter_is_never_written(key: str, value: str) -> None:
    with pytest.raises(ValueError, match="not representable"):
        container_line(key, value)


def test_the_router_gets_a_route_to_each_enabled_model(minimal: dict[str, Any]) -> None:
    minimal["llmhop"] = {
        "settings": {
            "port": 9000,
            "authTokens": ["${file:token}"],
            "models": {
                "gpt": {"url": "https://api.example.com", "headers": {"A": "${env:KEY}"}},
                "pair": {"urls": ["http://a:8000", "http://b:8000"], "retries": 1},
                "qwen2-5-7b": {"headers": {"X": "1"}},
            },
            "futureKey": [1, {"a": None}],
        }
    }
    assert json.loads(tree_of(minimal)["llmhop.json"]) == {
        "listen": "127.0.0.1:9000",
        "authTokens": ["${file:token}"],
        "futureKey": [1, {"a": None}],
        "models": {
            "gpt": {"url": "https://api.example.com", "headers": {"A": "${env:KEY}"}},
            "pair": {"urls": ["http://a:8000", "http://b:8000"], "retries": 1},
            "qwen2-5-7b": {"url": "http://127.0.0.1:18001", "headers": {"X": "1"}},
        },
    }


def test_headers_for_a_disabled_model_wait_for_it(minimal: dict[str, Any]) -> None:
    minimal["vllm"]["models"]["off"] = {"model": "m", "port": 1, "enable": False}
    minimal["llmhop"] = {"settings": {"models": {"off": {"headers": {"X": "1"}}}}}
    assert list(json.loads(tree_of(minimal)["llmhop.json"])["models"]) == ["qwen2-5-7b"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_llmhop_accepts_what_is_rendered_for_it(path: Path) -> None:
    rendered = tree_of(json.loads(path.read_text(encoding="utf-8")))["llmhop.json"]
    config = json.loads(rendered)
    parse_router_config(
        config, lambda reference: "secret", lambda cert, key: load_certificate(cert, key, {})
    )


def test_a_container_has_the_ids_that_the_options_name(minimal: dict[str, Any]) -> None:
    minimal["vllm"] |= {"subUidCount": 1000, "subGidStart": 400000, "subGidCount": 1009}
    assert [line for line in lines_of(minimal) if "Map=" in line] == [
        "UIDMap=0:0:1",
        "UIDMap=1:@300000:1000",
        "GIDMap=0:0:1",
        "GIDMap=1:@400000:1009",
    ]


@pytest.mark.parametrize("general", [True, False])
@pytest.mark.parametrize(
    "keys",
    [
        {"UserNS": "keep-id"},
        {"UIDMap": ["0:0:1", "1:@300000:9"]},
        {"GIDMap": "0:1:1"},
        {"SubUIDMap": "vllm"},
        {"PodmanArgs": "--userns=host"},
        {"PodmanArgs": ["--log-level=debug", "--uidmap 0:0:1"]},
    ],
)
def test_a_deployers_mapping_of_ids_takes_the_place_of_ours(
    minimal: dict[str, Any], keys: dict[str, Any], general: bool
) -> None:
    (model,) = minimal["vllm"]["models"].values()
    (minimal["vllm"] if general else model)["containerConfig"] = keys
    assert not any(line.startswith("UIDMap=1:@300000:65536") for line in lines_of(minimal))
    assert "GIDMap=0:0:1" not in lines_of(minimal)


def test_other_arguments_of_podman_leave_the_mapping_of_ids(minimal: dict[str, Any]) -> None:
    minimal["vllm"]["containerConfig"] = {"PodmanArgs": "--podman-x=1 --log-level=debug"}
    assert "UIDMap=1:@300000:65536" in lines_of(minimal)


def test_limits_that_a_deployer_sets_take_the_place_of_the_services(
    minimal: dict[str, Any],
) -> None:
    """Beside `host` Podman takes no others (tests/host/test_podman_values.py)."""
    assert "Ulimit=host" in lines_of(minimal)
    minimal["vllm"]["models"]["qwen2-5-7b"]["containerConfig"] = {"Ulimit": "memlock=-1:-1"}
    limits = [line for line in lines_of(minimal) if line.startswith("Ulimit=")]
    assert limits == ["Ulimit=memlock=-1:-1"]
    minimal["vllm"]["containerConfig"] = {"Ulimit": "memlock=5"}
    minimal["vllm"]["models"]["qwen2-5-7b"]["containerConfig"] = {"Ulimit": []}
    assert "Ulimit=host" in lines_of(minimal)


def test_a_deployers_own_user_is_not_declared(minimal: dict[str, Any]) -> None:
    minimal["vllm"]["user"] = "serving"
    tree = tree_of(minimal)
    assert "host/subuid" not in tree
    assert "serving" not in tree["host/sysusers.d/llmhop.conf"]
    assert "0700 serving serving" in tree["host/tmpfiles.d/llmhop.conf"]
