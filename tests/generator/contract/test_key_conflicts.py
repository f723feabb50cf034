"""Keys of [Container] that Podman takes no two of, wherever each stands."""

import json
from typing import Any

import pytest
from llmhop_generator.errors import GeneratorError
from llmhop_generator.parse.load import parse_config

from tests.generator.conftest import MINIMAL


def merged(general: dict[str, Any], own: dict[str, Any]) -> list[str]:
    config = json.loads(json.dumps(MINIMAL))
    config["vllm"]["containerConfig"] = general
    config["vllm"]["models"]["qwen2-5-7b"]["containerConfig"] = own
    try:
        parse_config(json.dumps(config).encode(), "config.json")
    except GeneratorError as error:
        return [str(problem).removeprefix("services.llmhop.vllm.") for problem in error.findings]
    return []


@pytest.mark.parametrize("other", ["UIDMap", "GIDMap", "SubUIDMap", "SubGIDMap"])
def test_a_mode_and_a_mapping_exclude_one_another_wherever_they_stand(other: str) -> None:
    what = f"has UserNS beside {other}, and Podman takes one of the two; leave one out"
    of_model = f"models.qwen2-5-7b.containerConfig.UserNS: {what}"
    mode, mapping = {"UserNS": "keep-id"}, {other: "0:0:1"}
    assert merged({}, mode | mapping) == [of_model]
    assert merged(mapping, mode) == [of_model]
    assert merged(mode | mapping, {}) == [f"containerConfig.UserNS: {what}"]
    assert merged(mode, mapping) == [f"containerConfig.UserNS: {what}"]
    assert merged(mode | mapping, {"UserNS": ""}) == []
    assert merged(mode, {"UserNS": [], **mapping}) == []


def test_a_mode_and_a_mapping_exclude_one_another_as_arguments_too() -> None:
    what = "and Podman takes one of the two; leave one out"
    arguments = {"PodmanArgs": "--userns=auto --uidmap 0:0:1"}
    assert merged({}, arguments) == [
        f"models.qwen2-5-7b.containerConfig.PodmanArgs: has --userns beside --uidmap, {what}"
    ]
    keys = {"UserNS": "auto", "PodmanArgs": "--subgidname=x"}
    assert merged(keys, {}) == [f"containerConfig.UserNS: has UserNS beside --subgidname, {what}"]
    assert merged({"PodmanArgs": "--userns=auto"}, {"PodmanArgs": "--uidmap=0:0:1"}) == []


def test_groups_that_are_kept_exclude_others() -> None:
    what = "has keep-groups beside others, and Podman takes it alone; leave the others out"
    both = {"GroupAdd": ["keep-groups", "44"]}
    assert merged({}, both) == [f"models.qwen2-5-7b.containerConfig.GroupAdd: {what}"]
    assert merged(both, {}) == [f"containerConfig.GroupAdd: {what}"]
    assert merged(both, {"GroupAdd": "44"}) == []


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        (
            {"AddCapability": "all"},
            'AddCapability: has all beside DropCapability = "all", which llmhop writes, and Podman '
            'takes one of the two; name those that are needed, or set DropCapability = ""',
        ),
        (
            {"Ulimit": ["host", "nofile=5"]},
            "Ulimit: has others beside host, which Podman passes over; leave host out, or them",
        ),
        (
            {"Tmpfs": "/tmp:size=1g"},  # noqa: S108
            "Tmpfs: has /tmp once more, and Podman mounts one thing in one place; take another "
            'place, or set Tmpfs = [ "" … ], which leaves out what llmhop mounts',
        ),
        (
            {"Volume": "/tmp:/tmp"},  # noqa: S108
            "Volume: has /tmp once more, and Podman mounts one thing in one place; take another "
            'place, or set Tmpfs = [ "" … ], which leaves out what llmhop mounts',
        ),
        (
            {"Volume": "/srv/cache:/root/.cache/huggingface"},
            "Volume: has /root/.cache/huggingface once more, and Podman mounts one thing in one "
            'place; take another place, or set Volume = [ "" … ], which leaves out what llmhop '
            "mounts",
        ),
        (
            {"Volume": ["/a:/b", "/c:/b"]},
            "Volume: has /b once more, and Podman mounts one thing in one place; leave one out",
        ),
    ],
    ids=str,
)
def test_keys_that_exclude_one_another_are_told_with_the_way_out(
    keys: dict[str, Any], what: str
) -> None:
    of_all = [f"containerConfig.{what}"]
    assert merged(keys, {}) == of_all
    assert merged({}, keys) == [f"models.qwen2-5-7b.{of_all[0]}"]
