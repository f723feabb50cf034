"""What of JSON is doubtful, at the cost of reading it."""

import tracemalloc

from llmhop_generator.parse.json_text import read_json


def test_what_is_nested_deeply_takes_no_path_for_each_value() -> None:
    text = "[" * 900 + ",".join(["1"] * 20_000 + ["NaN"]) + "]" * 900
    tracemalloc.start()
    try:
        _, doubts = read_json(text)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [each.path for each in doubts] == [(*[0] * 899, 20_000)]
    assert most < 10_000_000  # 900 indices for each value would be 144 MB


def test_what_stands_beside_is_found_at_its_own_path() -> None:
    read, doubts = read_json('{"a": [[1, NaN], {"b": NaN, "b": [NaN]}], "c": {}, "d": NaN}')
    assert [each.path for each in doubts] == [
        ("a", 0, 1),
        ("a", 1, "b"),
        ("a", 1, "b"),
        ("a", 1, "b", 0),
        ("d",),
    ]
    assert read == {"a": [[1, None], {"b": [None]}], "c": {}, "d": None}
