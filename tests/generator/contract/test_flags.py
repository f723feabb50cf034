"""Settings become the flags that vLLM reads."""

import argparse
import json
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from llmhop_generator.contract import flags
from llmhop_generator.render.model_unit import command_line

from tests.generator.conftest import MINIMAL
from tests.generator.support.contracts import vllm_of


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, ["--key"]),
        (False, []),
        (None, []),
        ([], []),
        ("", ["--key="]),
        ("128K", ["--key=128K"]),
        ("-1", ["--key=-1"]),
        (0, ["--key=0"]),
        (0.9, ["--key=0.9"]),
        (1e-05, ["--key=1e-05"]),
        ("a b", ["--key=a b"]),
        ('{"image": 1}', ['--key={"image": 1}']),
        ({"image": {"count": 1}}, ['--key={"image":{"count":1}}']),
        ({}, ["--key={}"]),
        (["a"], ["--key=a"]),
        (["-a"], ["--key=-a"]),
        (["a", 1, {"b": True}], ["--key", "a", "1", '{"b":true}']),
        ("é", ["--key=é"]),
    ],
)
def test_a_value_becomes_words(value: Any, expected: list[str]) -> None:
    assert flags.arguments({"key": value}) == expected


def test_flags_come_in_the_order_of_their_names() -> None:
    assert flags.arguments({"b": 1, "a": 2}) == ["--a=2", "--b=1"]


def test_a_negated_flag_is_written_by_its_name() -> None:
    assert flags.arguments({"no-enable-prefix-caching": True}) == ["--no-enable-prefix-caching"]


def test_the_models_own_setting_wins_however_it_is_spelled() -> None:
    merged = flags.merge({"max-model-len": 1, "dtype": "auto"}, {"max_model_len": 2})
    assert merged == {"dtype": "auto", "max_model_len": 2}


def test_null_takes_a_backend_wide_setting_back() -> None:
    assert flags.arguments(flags.merge({"a": 1}, {"a": None})) == []


def test_lists_that_vllm_reads_as_json_are_written_as_json() -> None:
    assert flags.arguments({"allowed-origins": ["*", "b"]}) == ['--allowed-origins=["*","b"]']


def test_lists_that_vllm_collects_are_repeated() -> None:
    assert flags.arguments({"middleware": ["a", "b"]}) == ["--middleware=a", "--middleware=b"]


def test_the_config_file_is_a_word_of_its_own() -> None:
    assert flags.arguments({"config": "/models/c.yaml"}) == ["--config", "/models/c.yaml"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, ["--key.a=true"]),
        (False, []),
        (None, []),
        (["x", 1], ['--key.a=["x",1]']),
        ({"b": 1}, ['--key.a={"b":1}']),
        ("auto", ["--key.a=auto"]),
    ],
)
def test_a_value_in_the_object_of_a_flag_is_in_one_word(value: Any, expected: list[str]) -> None:
    assert flags.arguments({"key.a": value}) == expected


@pytest.mark.parametrize(
    ("value", "passed"),
    [(120, "120"), ("120", "120"), ([120], "120"), (True, None), (None, None), ([1, 2], None)],
)
def test_the_value_that_a_flag_is_passed_with(value: Any, passed: str | None) -> None:
    assert flags.flag_value({"a": 1, "shutdown_timeout": value}, "shutdown-timeout") == passed


class Vllm(argparse.ArgumentParser):
    """A model of vLLM's argument parser, FlexibleArgumentParser in its argparse_utils.py.

    It takes `_` in the name of a flag for `-`, and gathers dotted flags into one object,
    which stands after all that was written and so wins over the flag itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.add_argument("--chunk-it", action=argparse.BooleanOptionalAction)
        self.add_argument("--fast", action=argparse.BooleanOptionalAction, default=True)
        self.add_argument("--max-len")
        self.add_argument("--some-names", nargs="+")
        self.add_argument("--an-object", type=json.loads)
        self.add_argument("--other-object", type=json.loads)

    def error(self, message: str) -> Any:
        raise AssertionError(message)

    def reads(self, words: list[str]) -> dict[str, Any]:
        """What was set, by the name of the flag; without what was not."""
        plain, objects = [], dict[str, Any]()
        waiting = [*words]
        while waiting:
            word = waiting.pop(0)
            key, equals, value = word.partition("=")
            if not key.startswith("--"):
                plain.append(word)
                continue
            head, dot, rest = key.partition(".")
            head = head.replace("_", "-")
            if not dot:
                plain.append(head + equals + value)
                continue
            place = objects.setdefault(head, {})
            *above, last = rest.removesuffix("+").split(".")
            for each in above:
                place = place.setdefault(each, {})
            place[last] = decoded(value if equals else waiting.pop(0))
        plain += [word for head, value in objects.items() for word in (head, json.dumps(value))]
        given = vars(self.parse_args(plain, argparse.Namespace(**dict.fromkeys(DESTS, UNSET))))
        return {dest: value for dest, value in given.items() if value is not UNSET}


def decoded(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


UNSET = object()
DESTS = ("chunk_it", "fast", "max_len", "some_names", "an_object", "other_object")
VLLM = Vllm()


def leaves(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and (value or not place):
        for key, inner in value.items():
            yield from leaves(inner, (*place, key))
    else:
        yield place, value


def spelled(head: str) -> st.SearchStrategy[str]:
    """A name with any of its dashes as underscores."""
    return st.tuples(*(st.sampled_from("-_" if c == "-" else c) for c in head)).map("".join)


SWITCHES = st.sampled_from(["chunk-it", "no-chunk-it", "fast", "no-fast"]).flatmap(spelled)
DOTTED = st.tuples(
    st.sampled_from(["an-object", "other-object"]).flatmap(spelled),
    st.sampled_from([".a", ".b", ".a.c", ".a.d"]),
).map("".join)
NUMBER = st.integers(0, 9)
OBJECT = st.fixed_dictionaries({}, optional={"a": NUMBER, "b": NUMBER, "e": NUMBER})
ENTRY = st.one_of(
    st.tuples(SWITCHES, st.sampled_from([True, False, None])),
    st.tuples(spelled("max-len"), NUMBER | st.none()),
    st.tuples(spelled("some-names"), st.lists(st.sampled_from("xyz"), max_size=3)),
    st.tuples(st.sampled_from(["an-object", "other-object"]).flatmap(spelled), OBJECT),
    st.tuples(DOTTED, NUMBER | st.booleans() | st.lists(NUMBER, max_size=2)),
)
SETTINGS = st.lists(ENTRY, max_size=4).map(dict)


def same_flag(one: str, other: str) -> bool:
    """Whether two keys set one thing, by what vLLM does with each alone."""
    places = [
        place
        for key in (one, other)
        for place, _ in leaves(VLLM.reads(flags.arguments(sample(key))))
    ]
    shorter, longer = sorted(places, key=len)
    return longer[: len(shorter)] == shorter


def sample(key: str) -> Mapping[str, Any]:
    kind = key.replace("_", "-").partition(".")[0].removeprefix("no-")
    values = {"max-len": 1, "some-names": ["x"], "an-object": {}, "other-object": {}}
    return {key: 1 if "." in key else values.get(kind, True)}


@settings(deadline=None, max_examples=400)
@given(SETTINGS)
@example({"max_len": 1, "max-len": None})
@example({"no-fast": True, "fast": False})
@example({"an-object": {}, "an_object.a.c": 1})
def test_a_flag_twice_in_one_set_is_refused_and_nothing_else_is(
    given_flags: dict[str, Any],
) -> None:
    twice = {key for pair in combinations(given_flags, 2) if same_flag(*pair) for key in pair}
    told = [(each.path[0], each.what) for each in flags.findings((), given_flags)]
    assert {key for key, _ in told} <= twice
    assert bool(told) is bool(twice)
    for key, what in told:
        assert any(f'"{other}"' in what for other in twice - {key})


@settings(deadline=None, max_examples=600)
@given(SETTINGS, SETTINGS)
@example({"fast": True}, {"no_fast": True})
@example({"no-fast": True}, {"fast": None})
@example({"an-object.a": 1}, {"an_object": {"b": 2}})
@example({"an-object": {"a": 1, "b": 1}}, {"an-object.a": 2})
@example({"an-object.a.c": 1}, {"an-object.a": 2})
def test_a_models_flag_wins_in_whatever_form(general: dict[str, Any], own: dict[str, Any]) -> None:
    if [*flags.findings((), general), *flags.findings((), own)]:
        return
    standing = [key for key in general if not any(same_flag(key, each) for each in own)]
    kept = VLLM.reads(flags.arguments({key: general[key] for key in standing}))
    alone = VLLM.reads(flags.arguments(own))
    read = VLLM.reads(words_of(general, own))
    assert dict(leaves(read)) == dict(leaves(kept)) | dict(leaves(alone))


def words_of(general: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """The flags as the command line of a model has them."""
    config = json.loads(json.dumps(MINIMAL))
    config["vllm"]["modelSettings"] = dict(general)
    (model,) = config["vllm"]["models"].values()
    model["settings"] = dict(own)
    vllm = vllm_of(config)
    return command_line(vllm, vllm.enabled_models[0])[5:]


def test_general_flags_stand_before_the_models() -> None:
    # argparse lets the last of several win, and knows flags by other names, such as short ones.
    assert words_of({"z": 1, "m": 2}, {"b": 3, "a": 4}) == ["--m=2", "--z=1", "--a=4", "--b=3"]
