"""Values of keys of [Container], as the real Podman takes or refuses them."""

from itertools import zip_longest
from pathlib import Path
from typing import Any

from llmhop_generator.contract.options import Config, Vllm
from llmhop_generator.render.model_unit import quadlet_files

from tests.generator.support.podman_values import KEYS, TOGETHER, cases
from tests.host.rootless_podman import UID, refusals, service_of

# Keys whose values are tried by themselves: one excludes the other.
_ALONE = {"GIDMap", "UIDMap", "UserNS"}
_SECRET = ["sh", "-c", "echo x | podman secret create here -"]


def said(root: Path, tmp_path: Path, containers: list[dict[str, Any]]) -> list[str | None]:
    """What Podman's generator or Podman says of containers with such keys."""
    (mount_point := tmp_path / "mount").mkdir()
    found = {}
    for index, source in enumerate(sources(containers)):
        (directory := tmp_path / str(index)).mkdir()
        if (service := service_of(root, directory, source)) is not None:
            found[index] = service
    answers = refusals(root, mount_point, list(found.values()), before=[_SECRET])
    by_index = dict(zip(found, answers, strict=True))
    return [by_index.get(index, "no service") for index in range(len(containers))]


def sources(containers: list[dict[str, Any]]) -> list[str]:
    """The Quadlet sources of models with such keys, whatever the rules say of them."""
    models = {
        f"m{index}": {"model": "m", "port": 1024 + index, "containerConfig": keys}
        for index, keys in enumerate(containers)
    }
    vllm = {"enable": True, "uid": UID, "subUidStart": 300000, "tag": "v1", "models": models}
    config = Config.model_validate({"version": 1, "vllm": vllm | {"startupOrdering": False}})
    assert isinstance(config.vllm, Vllm)
    return list(quadlet_files(config.vllm).values())


def many_at_once() -> list[dict[str, Any]]:
    """Containers of one value of each key: all values that are taken, in few of them."""
    columns = [
        [(key, value) for value in values.taken]
        for key, values in KEYS.items()
        if key not in _ALONE
    ]
    rows = [dict(filter(None, row)) for row in zip_longest(*columns)]
    alone = [{key: value} for key in _ALONE for value in KEYS[key].taken]
    return [*rows, *alone, *TOGETHER.taken]


def test_podman_takes_what_is_taken_and_refuses_what_is_refused(root: Path, tmp_path: Path) -> None:
    taken, refused = many_at_once(), [*cases("refused"), *cases("late")]
    answers = said(root, tmp_path, [*taken, *refused])
    of_taken = zip(answers, taken, strict=False)
    assert "\n".join(f"{answer}: {keys}" for answer, keys in of_taken if answer is not None) == ""
    of_refused = zip(refused, answers[len(taken) :], strict=True)
    assert [keys for keys, answer in of_refused if answer is None] == []
