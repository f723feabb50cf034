"""Why models of a real vLLM do not come up, what its parser does not take, what controls it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from llmhop.config.tables.control_paths import CONTROL_PATHS, find_control_path

from tests.host.cache import Cache
from tests.host.machine import Machine
from tests.host.project import wheels
from tests.host.setup import ETC, Setup, vllm_image, write
from tests.images.load import as_user
from tests.images.vllm.image import MODEL, VERSION

UNITS = "/etc/containers/systemd/users/503/llmhop"
OWN = "vllm.models.typo.settings"
# In the source, as most are served only with a flag or a variable of the environment.
FIND_PATHS = r"""
import pathlib, re, vllm
served = re.compile(r'(?:@\w*(?:app|router)\.[a-z_]+|\.add_[a-z_]*route)\(\s*f?"(/[^"]*)"')
for file in pathlib.Path(vllm.__file__).parent.joinpath("entrypoints").rglob("*.py"):
    print(*served.findall(file.read_text()), sep="\n")
"""
OPEN = {
    *("/classify", "/generative_scoring", "/pooling", "/rerank", "/score", "/v1/rerank"),
    *("/v1/score", "/v2/rerank", "/v1/embeddings", "/v2/embed", "/tokenize", "/detokenize"),
    *("/cohere/v2/chat", "/cohere/v2/chat/render", "/inference/v1/generate", "/v1/systemone"),
    *("/health", "/ready", "/readyz", "/ping", "/version", "/load", "/docs", "/v1/models"),
    *("/v1/audio/transcriptions", "/v1/audio/translations", "/v1/realtime"),
    *(f"/v1/chat/completions{rest}" for rest in ("", "/batch", "/render", "/derender")),
    *(f"/v1/completions{rest}" for rest in ("", "/render", "/derender")),
    *(f"/v1/messages{rest}" for rest in ("", "/count_tokens", "/render")),
    *(f"/v1/responses{rest}" for rest in ("", "/render")),
    *("/v1/responses/{response_id}", "/v1/responses/{response_id}/cancel"),
}
EARLIER: set[str] = set()
"""Control paths that only earlier versions have."""
IMAGE = f"localhost/vllm-cpu:{VERSION}"


def config(**models: dict[str, Any]) -> str:
    """Models with the least that each needs, started side by side."""
    ports = enumerate(models.items(), start=18001)
    vllm = {
        "enable": True,
        "uid": 503,
        "subUidStart": 300000,
        "image": "localhost/vllm-cpu",
        "tag": VERSION,
        "startupOrdering": False,
        "environment": {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"},
        "models": {
            name: {"model": MODEL, "shmSize": "1g", "port": port, **model}
            for port, (name, model) in ports
        },
    }
    return json.dumps({"version": 1, "vllm": vllm})


@pytest.fixture
def host(new_machine: Callable[[str], Machine], cache: Cache) -> Machine:
    machine = new_machine("causes")
    machine.start()
    setup = Setup("config", {"config": config(a={})}, vllm_image(cache), applied=False)
    setup.prepare(wheels(cache))(machine)
    return machine


def test_a_real_vllm_tells_what_it_does_not_take_and_why_it_does_not_come_up(
    host: Machine,
) -> None:
    what_its_parser_refuses(host)
    why_it_is_not_up(host)
    which_of_its_paths_are_open(host)


def which_of_its_paths_are_open(host: Machine) -> None:
    """Whoever takes a newer vLLM has to judge the paths that it adds."""
    command = as_user(
        *("vllm", "podman", "run", "--rm", "--network=none", "--entrypoint=python3", IMAGE),
        *("-c", FIND_PATHS),
    )
    paths = set(host.succeed(command).split())
    with host.log.subtest("each path of vLLM is one that controls it or is known to be open"):
        assert {"/sleep", "/v1/chat/completions"} <= paths
        control = {path for path in paths if find_control_path(path.encode()) is not None}
        assert paths - control - OPEN == set()
        assert {path for path in CONTROL_PATHS if path not in paths} <= EARLIER


def what_its_parser_refuses(host: Machine) -> None:
    flags = {"max-model-length": 128, "dtype": "bf17", "max-model-len": 128}
    write(host, f"{ETC}/typo.json", config(typo={"settings": flags}))
    code, output = host.execute(f"llmhop-generator apply {ETC}/typo.json 2>&1")
    with host.log.subtest("flags that the image's own parser refuses are told by their options"):
        assert code == 1, output
        assert (
            f"{OWN}.max-model-length: vLLM in {IMAGE} has no such flag; "
            "the nearest is max-model-len\n"
        ) in output
        assert f"{OWN}.dtype: vLLM in {IMAGE} refuses it: invalid choice: 'bf17'" in output
        assert f"{OWN}.max-model-len:" not in output, output
    with host.log.subtest("and nothing is touched, nor left behind"):
        assert host.succeed(f"find {UNITS} -name '*.container'") == ""
        assert host.succeed(as_user("vllm", "podman", "ps", "--all", "--quiet")) == ""


def why_it_is_not_up(host: Machine) -> None:
    failing: dict[str, dict[str, Any]] = {
        "long": {"settings": {"max-model-len": 999999}},
        "missing": {"model": "nobody/no-such-model"},
    }
    write(host, f"{ETC}/failing.json", config(**failing))
    host.succeed(f"llmhop-generator apply --no-wait {ETC}/failing.json")
    failed = "systemctl --user -M vllm@.host show --value -p NRestarts"
    for name in failing:
        host.wait_until_succeeds(f"test $({failed} vllm-{name}.service) -ge 1", timeout=600)
    status = json.loads(host.succeed("llmhop-generator status --json"))
    told = {model["model"]: model["last_error"] for model in status["models"]}
    with host.log.subtest("the cause is the engine's own, by its name"):
        assert "User-specified max_model_len (999999) is greater than" in told["long"], told
        assert told["long"].startswith("context too long: "), told
        assert told["missing"].startswith("model not downloaded: LocalEntryNotFoundError"), told
