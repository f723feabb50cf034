"""What a container of Podman's tells of its model."""

from typing import Any

import pytest
from llmhop_generator.host.process import Account
from llmhop_generator.status import containers as status_containers
from llmhop_generator.status.containers import Container, Storage, read_storage


def storage(state: str) -> Storage:
    container = Container("localhost/i:v1", "0" * 12, "", 18001, state)
    return Storage(frozenset(["localhost/i:v1"]), {"vllm-a": container})


@pytest.mark.parametrize("state", ["created", "initialized", "running", "stopping", "exited"])
def test_what_a_start_passes_through_is_no_trouble(state: str) -> None:
    assert storage(state).trouble("vllm-a", is_up=False) is None


@pytest.mark.parametrize("is_up", [True, False])
def test_a_paused_container_keeps_a_model_from_coming_up(is_up: bool) -> None:
    told = storage("paused").trouble("vllm-a", is_up=is_up)
    assert told is not None
    assert "podman unpause vllm-a" in told


def test_nothing_counts_as_missing_when_podman_gave_no_answer() -> None:
    unknown = Storage(unanswered="it can't be asked")
    assert unknown.trouble("vllm-a", is_up=True) is None
    assert not unknown.lacks("localhost/i:v1")
    assert Storage().lacks("localhost/i:v1")
    assert Storage().trouble("vllm-a", is_up=True) is not None


def test_what_podman_lists_is_read_also_where_an_image_has_lost_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = "789d1fb29389" + 52 * "0"
    images: list[dict[str, Any]] = [
        {"Id": used, "Names": ["localhost/i:v1"], "Digest": "sha256:8c"},
        {"Id": 64 * "1", "Names": None, "Digest": "sha256:9c"},
    ]
    running = {"Names": ["vllm-a"], "Image": "localhost/i:v1", "ImageID": used, "State": "running"}
    monkeypatch.setattr(status_containers, "images", lambda _: images)
    monkeypatch.setattr(status_containers, "containers", lambda _: [running])
    found = read_storage(Account(503, 503))
    assert found.images == {"localhost/i:v1"}
    expected = Container("localhost/i:v1", "789d1fb29389", "sha256:8c", None, "running")
    assert found.containers == {"vllm-a": expected}
