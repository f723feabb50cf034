"""A path that a model is given and that its container does not have is told, with the way out."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmhop_generator.contract.flags import arguments
from llmhop_generator.parse.rules import rule_findings

from tests.generator.conftest import MINIMAL

STORE = "/nix/store/" + "0" * 32 + "-chat.jinja"
OTHER = "localhost/engine"
MODEL = "services.llmhop.vllm.models.qwen2-5-7b"


def findings(vllm: dict[str, Any], model: dict[str, Any]) -> list[str]:
    config = json.loads(json.dumps(MINIMAL))
    (only,) = config["vllm"]["models"].values()
    only |= model
    config["vllm"] |= vllm
    return list(map(str, rule_findings(config)))


# An option of the model, and the path in it.
OUTSIDE: list[tuple[dict[str, Any], str]] = [
    ({"model": "/models/x"}, "/models/x"),
    ({"model": "/models/../srv//x/"}, "/srv/x"),
    ({"model": "/home/me/models/my model"}, "/home/me/models/my model"),
    ({"settings": {"chat-template": STORE}}, STORE),
    ({"settings": {"chat_template": "/etc/vllm/chat.jinja"}}, "/etc/vllm/chat.jinja"),
    ({"settings": {"tokenizer": "/models/x"}}, "/models/x"),
    ({"settings": {"allowed-local-media-path": "/media"}}, "/media"),
    ({"settings": {"lora-modules": "sql=/loras/sql"}}, "/loras/sql"),
    ({"settings": {"lora-modules": ["a=org/a", "b=/loras/b"]}}, "/loras/b"),
    ({"settings": {"lora-modules": {"name": "a", "path": "/loras/a"}}}, "/loras/a"),
    ({"settings": {"lora-modules": ['{"name": "a", "path": "/loras/a"}']}}, "/loras/a"),
    ({"settings": {"lora-modules": '[{"name": "a", "path": "/loras/a"}]'}}, "/loras/a"),
    ({"settings": {"speculative-config": {"model": "/models/draft"}}}, "/models/draft"),
    ({"settings": {"speculative-config.model": "/models/draft"}}, "/models/draft"),
    ({"settings": {"speculative-config": '{"model": "/models/draft"}'}}, "/models/draft"),
    ({"settings": {"config": "/etc/vllm/c.yaml"}}, "/etc/vllm/c.yaml"),
    ({"settings": {"tool-parser-plugin": "/rooted.py"}}, "/rooted.py"),
]


@pytest.mark.parametrize("flag", ["ssl-keyfile", "ssl_certfile", "uds", "model"])
@pytest.mark.parametrize("place", ["settings", "modelSettings"])
def test_a_flag_that_is_refused_is_told_once(flag: str, place: str) -> None:
    given = {place: {flag: "/etc/vllm/x"}}
    (told,) = findings(*(({}, given) if place == "settings" else (given, {})))
    assert "is not for settings" in told


@pytest.mark.parametrize(("model", "path"), OUTSIDE, ids=str)
def test_a_path_that_nothing_brings_in_names_the_volume_to_add(
    model: dict[str, Any], path: str
) -> None:
    (told,) = findings({}, model)
    key = next(iter(model))
    leaf = next(iter(model[key])) if isinstance(model[key], dict) else None
    assert told.startswith(f"{MODEL}.{key}")
    assert leaf is None or leaf in told.partition(": ")[0]
    assert path in told
    volume = told.partition('add "')[2].partition('"')[0]
    assert volume.endswith(":ro") and path.startswith(volume.partition(":")[0])
    assert "containerConfig.Volume" in told
    for place in (model, {}):
        place = {**model, "containerConfig": {"Volume": volume}} if place else model
        general = {} if "containerConfig" in place else {"containerConfig": {"Volume": [volume]}}
        assert findings(general, place) == []


@pytest.mark.parametrize(("model", "path"), OUTSIDE, ids=str)
def test_what_another_image_has_is_not_known_but_that_it_lacks_the_hosts_store(
    model: dict[str, Any], path: str
) -> None:
    assert bool(findings({"image": OTHER}, model)) is path.startswith("/nix/store/")


@pytest.mark.parametrize(
    "image", ["vllm/vllm-openai-rocm", "mirror.example:5000/x/vllm/vllm-openai"]
)
@pytest.mark.parametrize("pin", [{}, {"digest": "sha256:" + "a" * 64}])
def test_every_image_of_vllms_is_known(image: str, pin: dict[str, str]) -> None:
    assert findings({"image": image}, {"model": "/models/x", **pin})


INSIDE: list[dict[str, Any]] = [
    {"model": "org/model"},
    {"model": "model"},
    {"model": "./models/x"},
    {"model": "../x"},
    {"model": "~/models/x"},
    {"model": "s3://bucket/models/x"},
    {"model": "https://example.org/x"},
    {"model": "/root/.cache/huggingface/hub/x"},
    {"model": "/root/.cache/huggingface"},
    {"settings": {"chat-template": "{% if x %}/nix/store/{% endif %}"}},
    {"settings": {"chat-template": "/vllm-workspace/examples/tool_chat_template_hermes.jinja"}},
    {"settings": {"chat-template": "/app/vllm/examples/tool_chat_template_hermes.jinja"}},
    {"settings": {"download-dir": "/usr/share/models"}},
    {"settings": {"root-path": "/api/v1"}},
    {"settings": {"root_path": "/api/v1"}},
    {"settings": {"disable-access-log-for-endpoints": "/health,/metrics"}},
    {"settings": {"default-chat-template-kwargs": {"suffix": "/no_think"}}},
    {"settings": {"lora-modules": "a=org/a"}},
    {"settings": {"allowed-local-media-path": "/"}},
    {"settings": {"max-model-len": 4096, "a": None, "b": True, "c": "{broken"}},
    {"settings": {"ssl-ca-certs": "/etc/ssl/certs/ca-certificates.crt"}},
]


@pytest.mark.parametrize("image", ["docker.io/vllm/vllm-openai", OTHER])
@pytest.mark.parametrize("model", INSIDE, ids=str)
def test_what_a_container_has_and_what_is_no_path_is_let_through(
    image: str, model: dict[str, Any]
) -> None:
    assert findings({"image": image}, model) == []


# Keys of the container, and whether /models/x is then in it.
KEYS: list[tuple[dict[str, Any], bool]] = [
    ({"Volume": "/srv/models:/models:ro"}, True),
    ({"Volume": ["/a:/a", "/models:/models/:ro,z"]}, True),
    ({"Volume": "models.volume:/models"}, True),
    ({"Volume": "%h/models:/models"}, True),
    ({"Volume": "/models"}, True),
    ({"Volume": "/data/x:/models/x/y"}, True),
    ({"Volume": "/:/"}, True),
    ({"Volume": "/data:/%p"}, True),
    ({"Mount": "type=bind,source=/data,target=/models"}, True),
    ({"Mount": ["type=image,src=org/weights,destination=/models,rw=false"]}, True),
    ({"Mount": "type=tmpfs,dst=/models"}, True),
    ({"Tmpfs": "/models:rw,size=1g"}, True),
    ({"Secret": "weights,type=mount,target=/models/x"}, True),
    ({"PodmanArgs": "--volume=/models:/models"}, True),
    ({"PodmanArgs": ["--log-level=debug", "-v /models:/models"]}, True),
    ({"Volume": "/models:/model"}, False),
    ({"Volume": "/models/xy:/models/xy"}, False),
    ({"Volume": ["/models:/models", ""]}, False),
    ({"Volume": []}, False),
    ({"Environment": "A=/models"}, False),
    ({"PodmanArgs": "--env-merge=volume=/models"}, False),
]


@pytest.mark.parametrize(("keys", "there"), KEYS, ids=str)
@pytest.mark.parametrize("general", [True, False])
def test_whatever_mounts_a_path_brings_it_in(
    keys: dict[str, Any], there: bool, general: bool
) -> None:
    model = {"model": "/models/x"}
    found = (
        findings({"containerConfig": keys}, model)
        if general
        else findings(
            {
                "containerConfig": {"Volume": "/models:/models"}
                if there and "Volume" in keys
                else {}
            },
            {**model, "containerConfig": keys},
        )
    )
    assert (found == []) is there


def test_a_models_volumes_take_the_place_of_the_general_ones() -> None:
    keys = {"containerConfig": {"Volume": "/models:/models"}}
    assert findings(keys, {"model": "/models/x"}) == []
    assert findings(keys, {"model": "/models/x", "containerConfig": {"Volume": "/a:/a"}})


@pytest.mark.parametrize("image", ["docker.io/vllm/vllm-openai", OTHER])
@pytest.mark.parametrize(
    ("vllm", "path", "inside"),
    [
        ({"containerConfig": {"Volume": "/srv/m:/models"}}, "/srv/m/a/b", "/models/a/b"),
        ({"containerConfig": {"Volume": "/srv/m:/models"}}, "/srv/m", "/models"),
        ({"containerConfig": {"Mount": "type=bind,src=/srv,dst=/x"}}, "/srv/m", "/x/m"),
        ({"cacheDir": "/big/cache"}, "/big/cache/hub/x", "/root/.cache/huggingface/hub/x"),
        ({}, "/var/cache/vllm/hub/x", "/root/.cache/huggingface/hub/x"),
        (
            {"containerConfig": {"Volume": "/nix/store:/s"}},
            STORE,
            STORE.replace("/nix/store", "/s"),
        ),
    ],
)
def test_a_path_of_the_host_that_a_volume_has_elsewhere_is_told_by_its_place_there(
    image: str, vllm: dict[str, Any], path: str, inside: str
) -> None:
    (told,) = findings({**vllm, "image": image}, {"model": path})
    assert told == f"{MODEL}.model: has {path}, which the container has as {inside}; write that"


def test_general_flags_are_told_where_they_stand_unless_every_model_has_its_own() -> None:
    general = {"modelSettings": {"chat_template": STORE, "tokenizer": "/t"}}
    found = findings(general, {})
    assert [each.partition(": ")[0] for each in found] == [
        "services.llmhop.vllm.modelSettings.chat_template",
        "services.llmhop.vllm.modelSettings.tokenizer",
    ]
    assert findings(general, {"settings": {"chat-template": None, "tokenizer": "org/t"}}) == []


DEEP = st.recursive(
    st.sampled_from(["x", "org/x", "/usr/x", 1, None, True]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
        | st.dictionaries(st.sampled_from("ab"), inner, min_size=1, max_size=2).map(json.dumps)
    ),
    max_leaves=5,
)


@settings(deadline=None, max_examples=200)
@given(DEEP, st.data())
def test_a_path_is_found_however_deep_it_lies(value: Any, data: st.DataObject) -> None:
    assert findings({}, {"settings": {"additional-config": value}}) == []
    for _ in range(data.draw(st.integers(0, 3))):
        wrap = data.draw(st.sampled_from(["list", "dict", "json"]))
        path = {"list": ["x", "/lost"], "dict": {"a": "/lost"}, "json": '{"a": "/lost"}'}[wrap]
        value = [value, path]
        assert findings({}, {"settings": {"additional-config": value}})


def test_words_that_a_container_is_given_are_those_that_are_looked_at() -> None:
    flags = {"lora-modules": ["a=/loras/a", {"name": "b", "path": "/loras/b"}]}
    words = arguments(flags)
    told = findings({}, {"settings": flags})
    assert len(told) == sum("/loras/" in word for word in words) == 2
