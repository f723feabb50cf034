"""Links between pages lead somewhere, as files and, in the book, on the site."""

import re
from pathlib import Path

import pytest

from tests.docs.markdown import BOOK, PAGES, REPOSITORY, ROOT, anchors, links

IN_THE_BOOK = [page for page in PAGES if page.parent == BOOK]
SUMMARY = BOOK / "SUMMARY.md"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_link_within_the_repository_leads_to_a_file_and_a_heading_of_it(page: Path) -> None:
    for link in links(page):
        if link.startswith(REPOSITORY):
            path, _, place = link.removeprefix(REPOSITORY).partition("#")
            target = ROOT / path
        elif re.match(r"https?:", link):
            continue
        else:
            path, _, place = link.partition("#")
            target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not place or place in anchors(target), link


@pytest.mark.parametrize("page", IN_THE_BOOK, ids=name)
def test_a_page_of_the_book_names_files_outside_of_it_by_their_address(page: Path) -> None:
    for link in links(page):
        if not re.match(r"https?:|#", link):
            assert (page.parent / link.partition("#")[0]).resolve().parent == BOOK, link


def test_every_page_of_the_book_is_in_its_summary_once() -> None:
    listed = sorted(links(SUMMARY))
    assert listed == sorted(page.name for page in IN_THE_BOOK if page != SUMMARY)
