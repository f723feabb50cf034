"""Which directories can be the models' own.

`systemd-tmpfiles` gives both to the models' user, and what runs in a container can write the one
for the cache.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from llmhop_generator.contract.options import Vllm
from llmhop_generator.contract.text import is_within, normal_path
from llmhop_generator.errors import Finding
from llmhop_generator.layout import HOME_DIRECTORIES, STATE_DIR, SYSTEM_DIRECTORIES, SYSTEM_TREES


def findings(vllm: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what can't be one of the two directories in the JSON of the backend."""
    given = {}
    for option, field in (("dataDir", "data_dir"), ("cacheDir", "cache_dir")):
        default = Vllm.model_fields[field].default
        path = vllm.get(option, default)
        if isinstance(path, str) and path.startswith("/"):
            given[option] = path
            advice = f"name one that is theirs alone, such as {default}"
            yield from (
                Finding.at(("vllm", option), f"{what}; {advice}")
                for what in _system_conflicts(path)
            )
            if ".." in path.split("/"):
                what = f"{path} has .., which systemd-tmpfiles refuses; write {normal_path(path)}"
                yield Finding.at(("vllm", option), what)
    data, cache = given.get("dataDir"), given.get("cacheDir")
    if data is not None and cache is not None and not any(_system_conflicts(cache)):
        yield from _shared_directories(data, cache)


def _system_conflicts(path: str) -> Iterator[str]:
    normal = normal_path(path)
    if normal in SYSTEM_DIRECTORIES:
        yield f"{path} is a directory of the system, and would be given to the models' user"
    for tree, why in SYSTEM_TREES.items():
        if is_within(normal, tree):
            yield f"{path} is in {tree}, {why}"
    if is_within(normal, str(STATE_DIR)):
        yield f"{path} is in {STATE_DIR}, where llmhop-generator keeps its own"


def _shared_directories(data: str, cache: str) -> Iterator[Finding]:
    if is_within(normal_path(data), normal_path(cache)):
        how = "is" if normal_path(data) == normal_path(cache) else "is in"
        yield Finding.at(
            ("vllm", "dataDir"),
            f"{data} {how} the cacheDir ({cache}), which containers can write, and with it what "
            "starts them; name another directory for one of the two",
        )
        return
    for directory in HOME_DIRECTORIES:
        own = f"{normal_path(data)}/{directory}"
        if is_within(normal_path(cache), own) or is_within(own, normal_path(cache)):
            yield Finding.at(
                ("vllm", "cacheDir"),
                f"{cache} would let containers write {own}, by which they are started; "
                f"name another, such as {Vllm.model_fields['cache_dir'].default}",
            )
