"""Bad configurations: each gets its message, exit code 1 and no traceback."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from llmhop_generator.cli.main import main
from llmhop_generator.errors import json_names

from tests.generator.conftest import MINIMAL, Command

QWEN = "vllm.models.qwen2-5-7b"
DIGEST = "sha256:a73fb0b9046fee099f7c1829d2548e6cc1740f4c2776a6855fa659ae5d0deb49"
REMOVE = object()


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """The smallest configuration with values at dotted paths set, or removed."""
    config: dict[str, Any] = json.loads(json.dumps(MINIMAL))
    for path, value in changes.items():
        *parents, last = path.split("/")
        place = config
        for key in parents:
            place = place.setdefault(key, {})
        if value is REMOVE:
            del place[last]
        else:
            place[last] = value
    return config


SECOND = {"model": "m", "port": 18002}
M = "vllm/models/qwen2-5-7b"

# What is changed in the configuration, and what the message must say: where and what.
CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "no version": ({"version": REMOVE}, "version", "required"),
    "unknown version": ({"version": 2}, "version", "must be 1, not 2"),
    "version as a string": ({"version": "1"}, "version", 'must be 1, not "1"'),
    "unknown key": ({"vlm": {}}, "vlm", "did you mean vllm?"),
    "vllm is a list": ({"vllm": []}, "vllm", "must be an object, not a list"),
    "enable as a string": ({"vllm/enable": "yes"}, "vllm.enable", "true or false"),
    "models that are not enabled": ({"vllm/enable": REMOVE}, "vllm.enable", "write true to serve"),
    "options that are not enabled": (
        {"vllm": {"uid": 503}},
        "vllm.enable",
        "write true to serve",
    ),
    "settings that are not enabled": (
        {"vllm": REMOVE, "llmhop/settings": {"models": {"x": {"url": "http://h"}}}},
        "llmhop.enable",
        "is not set",
    ),
    "missing uid": ({"vllm/uid": REMOVE}, "vllm.uid", "for example 503"),
    "missing subUidStart": ({"vllm/subUidStart": REMOVE}, "vllm.subUidStart", "required"),
    "missing tag beside a digest": (
        {"vllm/tag": REMOVE, f"{M}/digest": DIGEST, "vllm/models/b": SECOND},
        "vllm.tag",
        "vllm.models.b has neither tag nor digest",
    ),
    "missing tag": ({"vllm/tag": REMOVE}, "vllm.tag", 'for example "v0.11.0"'),
    "uid as a string": ({"vllm/uid": "503"}, "vllm.uid", "a whole number, not a string"),
    "uid as a boolean": ({"vllm/uid": True}, "vllm.uid", "a whole number, not a boolean"),
    "uid as a fraction": ({"vllm/uid": 503.5}, "vllm.uid", "a whole number, not 503.5"),
    "negative uid": ({"vllm/uid": -1}, "vllm.uid", "at least 0"),
    "uid of root": ({"vllm/uid": 0}, "vllm.uid", "must not be 0"),
    "gid of root": ({"vllm/gid": 0}, "vllm.gid", "must not be 0"),
    "range holds uid": (
        {"vllm/subUidStart": 1000, "vllm/uid": 1500},
        "subUidStart",
        "contains uid",
    ),
    "range holds gid": (
        {"vllm/subGidStart": 1000, "vllm/gid": 1500},
        "subGidStart",
        "contains gid",
    ),
    "range too low": ({"vllm/subUidStart": 900, "vllm/uid": 100}, "subUidStart", "system users"),
    "range that systemd's dynamic users have": (
        {"vllm/subUidStart": 61000},
        "vllm.subUidStart",
        "61184 to 65535",
    ),
    "uid that systemd's dynamic users have": ({"vllm/uid": 61184}, "vllm.uid", "61184 to 65535"),
    "gid of nobody": ({"vllm/gid": 65534}, "vllm.gid", "and to nobody"),
    "user of root": ({"vllm/user": "root", "vllm/uid": 0}, "vllm.user", "containers are rootless"),
    "user of llmhop": ({"vllm/user": "llmhop"}, "vllm.user", "llmhop's own"),
    "group of root": ({"vllm/group": "root", "vllm/gid": 0}, "vllm.group", "rootless"),
    "group of llmhop": ({"vllm/group": "llmhop"}, "vllm.group", "llmhop's own"),
    "range too high": ({"vllm/subUidStart": 4294967000}, "subUidStart", "start lower"),
    "range of too few ids": ({"vllm/subUidCount": 998}, "vllm.subUidCount", "1 to 999"),
    "group range of too few ids": ({"vllm/subGidCount": 1}, "vllm.subGidCount", "65536"),
    "empty range": ({"vllm/subUidCount": 0}, "vllm.subUidCount", "more than 0"),
    "misspelt option": (
        {"vllm/modelSetting": {}},
        "vllm.modelSetting",
        "did you mean modelSettings",
    ),
    "capitals in image": ({"vllm/image": "docker.io/vLLM/x"}, "vllm.image", "lower case"),
    "an image of empty words": ({"vllm/image": "docker.io/a..b"}, "vllm.image", "lower case"),
    "relative cacheDir": ({"vllm/cacheDir": "cache"}, "vllm.cacheDir", "absolute path"),
    "colon in cacheDir": ({"vllm/cacheDir": "/a:b"}, "vllm.cacheDir", "without colons"),
    "system's cacheDir": ({"vllm/cacheDir": "/srv"}, "vllm.cacheDir", "directory of the system"),
    "cacheDir in a tree": ({"vllm/cacheDir": "/usr/x"}, "vllm.cacheDir", "is in /usr"),
    "generator's dataDir": ({"vllm/dataDir": "/var/lib/llmhop"}, "vllm.dataDir", "keeps its own"),
    "dots in dataDir": ({"vllm/dataDir": "/a/../b"}, "vllm.dataDir", "write /b"),
    "dataDir of the cache": ({"vllm/cacheDir": "/var/lib/vllm/"}, "vllm.dataDir", "the cacheDir"),
    "relative dataDir": ({"vllm/dataDir": "./x"}, "vllm.dataDir", "absolute path"),
    "devices as a string": ({"vllm/devices": "nvidia.com/gpu=all"}, "vllm.devices", "a list"),
    "empty device": ({"vllm/devices": [""]}, "vllm.devices[0]", "empty"),
    "unquotable device": ({"vllm/devices": ["a\"b'c"]}, "vllm.devices[0]", "both kinds of quotes"),
    "variable not a string": ({"vllm/environment": {"A": 1}}, "vllm.environment.A", "a string"),
    "bad variable name": ({"vllm/environment": {"A B": ""}}, 'environment."A B"', "variable name"),
    "newline in variable": ({"vllm/environment": {"A": "x\ny"}}, "environment.A", "newline"),
    "NUL in variable": ({"vllm/environment": {"A": "x\0y"}}, "environment.A", "NUL"),
    "secret in environment": (
        {"vllm/environment": {"HF_TOKEN": "hf_abc"}},
        "environment.HF_TOKEN",
        "environmentFile",
    ),
    "image with a tag": ({"vllm/image": "vllm/vllm-openai:v1"}, "vllm.image", "without tag"),
    "tag with a space": ({"vllm/tag": "v 1"}, "vllm.tag", "a tag such as"),
    "bad user": ({"vllm/user": "a:b"}, "vllm.user", "user or group name"),
    "zero open files": ({"vllm/openFilesLimit": 0}, "vllm.openFilesLimit", "more than 0"),
    "no models": ({"vllm/models": {}}, "vllm.models", "names no model"),
    "all models disabled": ({f"{M}/enable": False}, "vllm.models", "enables no model"),
    "model without model": ({f"{M}/model": REMOVE}, f"{QWEN}.model", "required"),
    "model without port": ({f"{M}/port": REMOVE}, f"{QWEN}.port", "required"),
    "empty model": ({f"{M}/model": ""}, f"{QWEN}.model", "empty"),
    "model like a flag": ({f"{M}/model": "--x"}, f"{QWEN}.model", "dash"),
    "newline in model": ({f"{M}/model": "a\nb"}, f"{QWEN}.model", "newline"),
    "port too high": ({f"{M}/port": 65536}, f"{QWEN}.port", "at most 65535"),
    "port 0": ({f"{M}/port": 0}, f"{QWEN}.port", "must not be 0"),
    "port as a string": ({f"{M}/port": "18001"}, f"{QWEN}.port", "a whole number"),
    "one port twice": (
        {"vllm/models/b": {"model": "m", "port": 18001}},
        "vllm.models.b.port",
        f"18001 is the port of {QWEN}",
    ),
    "llmhop's own port": ({f"{M}/port": 8080}, f"{QWEN}.port", "llmhop itself"),
    "llmhop's own port, listen": (
        {"llmhop/settings": {"listen": "[::]:18001"}},
        f"{QWEN}.port",
        "llmhop itself",
    ),
    "one name twice": (
        {"vllm/models/b": {**SECOND, "name": "qwen2-5-7b"}},
        "vllm.models.b.name",
        QWEN,
    ),
    "name from a bad key": ({"vllm/models": {"a_b": SECOND}}, "models.a_b.name", "'a_b'"),
    "name with a slash": ({f"{M}/name": "a/b"}, f"{QWEN}.name", "letters"),
    "endless name": ({f"{M}/name": "a" * 300}, f"{QWEN}.name", "longer than 200"),
    "tag with digest": ({f"{M}/tag": "x", f"{M}/digest": DIGEST}, f"{QWEN}.tag", "excludes"),
    "short digest": ({f"{M}/digest": "sha256:abc"}, f"{QWEN}.digest", "64"),
    "bad size": ({f"{M}/shmSize": "much"}, f"{QWEN}.shmSize", "32g"),
    "model not an object": ({"vllm/models/b": 3}, "vllm.models.b", "must be an object"),
    "unknown model option": ({f"{M}/prot": 1}, f"{QWEN}.prot", "did you mean port?"),
    "bad flag name": ({f"{M}/settings": {"a b": 1}}, f'{QWEN}.settings."a b"', "flag"),
    "newline in a flag": ({f"{M}/settings": {"a": ["x\n"]}}, f"{QWEN}.settings.a", "newline"),
    "noncharacter": ({f"{M}/settings": {"a": "\ufffe"}}, f"{QWEN}.settings.a", "U+FFFE"),
    "flag of ours": ({f"{M}/settings": {"port": 1}}, f"{QWEN}.settings.port", "option `port`"),
    "flag of ours, underscores": (
        {"vllm/modelSettings": {"served_model_name": "x"}},
        "modelSettings.served_model_name",
        "`name`",
    ),
    "secret flag": ({f"{M}/settings": {"api-key": "sk-abc"}}, "settings.api-key", "VLLM_API_KEY"),
    "list item like a flag": ({f"{M}/settings": {"a": ["x", "-y"]}}, "settings.a", "'-y'"),
    "relative environmentFile": ({f"{M}/environmentFile": ".env"}, "environmentFile", "absolute"),
    "bad key for a unit": (
        {"vllm/unitConfig": {"A=B": 1}},
        'vllm.unitConfig."A=B"',
        "a key of a unit file",
    ),
    "newline in a unit's key": (
        {f"{M}/serviceConfig": {"Nice": ["1", "2\n[Install]"]}},
        f"{QWEN}.serviceConfig.Nice",
        "newline",
    ),
    "NUL in a unit's key": ({"vllm/unitConfig": {"A": "\0"}}, "vllm.unitConfig.A", "NUL"),
    "a unit's key that would swallow the next": (
        {f"{M}/containerConfig": {"Label": "a=\\"}},
        f"{QWEN}.containerConfig.Label",
        "ends with a backslash",
    ),
    "object in a unit's key": (
        {f"{M}/containerConfig": {"Label": [{"a": 1}]}},
        f"{QWEN}.containerConfig.Label",
        "must be a string, a number",
    ),
    "null in a unit's key": ({"vllm/unitConfig": {"A": None}}, "unitConfig.A", "must be a string"),
    "container's name": (
        {f"{M}/containerConfig": {"ContainerName": "x"}},
        f"{QWEN}.containerConfig.ContainerName",
        "set the model's `name`",
    ),
    "port in containerConfig": (
        {"vllm/containerConfig": {"PublishPort": "80:80"}},
        "vllm.containerConfig.PublishPort",
        "`port`",
    ),
    "kind of service": (
        {"vllm/serviceConfig": {"Type": "oneshot"}},
        "vllm.serviceConfig.Type",
        "health check",
    ),
    "secret in containerConfig": (
        {f"{M}/containerConfig": {"Environment": ["A=1 'HF_TOKEN=hf_abc'"]}},
        f"{QWEN}.containerConfig.Environment",
        "sets HF_TOKEN",
    ),
    "secret in serviceConfig": (
        {"vllm/serviceConfig": {"Environment": "VLLM_API_KEY=x"}},
        "vllm.serviceConfig.Environment",
        "sets VLLM_API_KEY",
    ),
    "settings as a list": ({"llmhop/settings": []}, "llmhop.settings", "an object"),
    "bad listen": ({"llmhop/settings": {"listen": "8080"}}, "settings.listen", '":8080"'),
    "listen is a number": (
        {"llmhop/settings": {"listen": 5}},
        "settings.listen: must be a string, not a number",
        "",
    ),
    "number in listen": (
        {"llmhop/settings": {"listen": [5]}},
        "settings.listen[0]: must be a string, not a number",
        "",
    ),
    "nothing in listen": ({"llmhop/settings": {"listen": []}}, "settings.listen", "empty list"),
    "bad listen in a list": (
        {"llmhop/settings": {"listen": [":1", "unix:x"]}},
        "settings.listen[1]",
        "not absolute",
    ),
    "llmhop's own port, one of several": (
        {"llmhop/settings": {"listen": ["127.0.0.1:1", ":18001"]}},
        f"{QWEN}.port",
        "llmhop itself",
    ),
    "bad socket mode": ({"llmhop/settings": {"socketMode": "rw"}}, "settings.socketMode", "octal"),
    "listen and port": (
        {"llmhop/settings": {"listen": ":1", "port": 1}},
        "settings.listen",
        "together with host or port",
    ),
    "remote model without url": (
        {"llmhop/settings": {"models": {"x": {}}}},
        "llmhop.settings.models.x.url",
        "required",
    ),
    "remote model named as a local one": (
        {"llmhop/settings": {"models": {"qwen2-5-7b": {"url": "http://h"}}}},
        "settings.models.qwen2-5-7b.url",
        "serves here",
    ),
    "model of several urls named as a local one": (
        {"llmhop/settings": {"models": {"qwen2-5-7b": {"urls": ["http://h"]}}}},
        "settings.models.qwen2-5-7b.urls",
        "serves here",
    ),
    "header not a string": (
        {"llmhop/settings": {"models": {"x": {"url": "http://h", "headers": {"A": 1}}}}},
        "headers.A",
        "a string",
    ),
    "client with a model that is none": (
        {"llmhop/settings": {"clients": {"a": {"token": "t", "models": ["qwen2-5-7b", "qwen"]}}}},
        "settings.clients.a.models[1]",
        "is no model; write one by its own name (qwen2-5-7b)",
    ),
    "client with a path that is none": (
        {"llmhop/settings": {"clients": {"a": {"token": "t", "paths": ["/slep"]}}}},
        "settings.clients.a.paths[0]",
        "is no path that has to be allowed",
    ),
    "router without models": (
        {"vllm": {}, "llmhop/enable": True},
        "settings.models",
        "names no model",
    ),
    "router with headers for no model": (
        {
            "vllm/enable": False,
            "llmhop/enable": True,
            "llmhop/settings": {"models": {"qwen2-5-7b": {"headers": {}}}},
        },
        "settings.models",
        "names no model that runs",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_value_is_refused_with_its_option_path(
    name: str, config_file: Callable[[Any], Path]
) -> None:
    changes, where, what = CASES[name]
    done = CliRunner().invoke(main, ["validate", str(config_file(changed(changes)))])
    assert done.exit_code == 1
    assert done.stdout == ""
    assert isinstance(done.exception, SystemExit)
    assert any(where in line and what in line for line in done.stderr.splitlines()), done.stderr
    # As it stands in the JSON, and not as NixOS calls it.
    assert "services." not in done.stderr


def test_every_problem_shows_at_once(
    generator: Command, config_file: Callable[[Any], Path]
) -> None:
    config = changed(
        {
            "vllm/uid": REMOVE,
            "vllm/unknown": 1,
            f"{M}/settings": {"a": "x\ny"},
            "vllm/models/b": {"model": "m", "port": 18001},
            "llmhop/settings": {"listen": "nowhere"},
        }
    )
    done = generator("validate", config_file(config))
    assert "5 problems" in done.stderr
    assert len(done.stderr.splitlines()) == 6


def test_options_are_told_by_the_names_of_who_wrote_them(
    generator: Command, config_file: Callable[[Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {
        "vllm/tag": REMOVE,
        "vllm/models/b": {"model": "m", "port": 18001},
        "llmhop/settings": {"workers": "two", "models": {"qwen2-5-7b": {"url": "http://h"}}},
    }
    path = config_file(changed(changes))
    told = generator("validate", path).stderr
    monkeypatch.setenv("LLMHOP_OPTION_NAMES", "nixos")
    nixos = generator("validate", path).stderr
    _, *lines = nixos.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("  services.llmhop.") for line in lines)
    assert [line.strip().partition(": ")[0] for line in sorted(told.splitlines()[1:])] == [
        "llmhop.settings.models.qwen2-5-7b.url",
        "llmhop.settings.workers",
        "vllm.models.b.port",
        "vllm.tag",
    ]
    assert json_names(nixos) == told
    other = "systemd.services.llmhop.serviceConfig, my-services.llmhop, services.llmhopper"
    assert json_names(other) == other
    assert "services." not in told


def test_nothing_is_written_for_a_bad_configuration(
    generator: Command, config_file: Callable[[Any], Path], tmp_path: Path
) -> None:
    done = generator("render", config_file(changed({"vllm/uid": 0})), "-o", tmp_path / "out")
    assert done.returncode == 1
    assert not (tmp_path / "out").exists()


def test_a_secret_in_the_wrong_place_is_not_repeated(
    generator: Command, config_file: Callable[[Any], Path]
) -> None:
    config = changed(
        {
            "vllm/environment": {"HF_TOKEN": "hf_abc"},
            "vllm/containerConfig": {"Environment": "HF_TOKEN=hf_abc"},
            f"{M}/settings": {"api-key": "sk-abc"},
        }
    )
    done = generator("validate", config_file(config))
    assert done.returncode == 1
    assert "_abc" not in done.stderr
    assert "-abc" not in done.stderr
