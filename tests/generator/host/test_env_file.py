"""Environment files: what Podman would refuse or misread is told by its line, and no value is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmhop_generator.host.env_file import misread

WRONG: list[tuple[bytes, str]] = [
    (b"=hidden", "no name before = in line 1; write NAME=value"),
    (b" \t=hidden", "no name before = in line 1"),
    (b"A=1\n\n=hidden", "no name before = in line 3"),
    (b"export A=hidden", "no name of a variable before = in line 1; write NAME=value, without"),
    (b"A =hidden", "no name of a variable before = in line 1"),
    (b'"A=hidden"', "no name of a variable before = in line 1"),
    (b"A-\xc3\xa4=hidden", "no name of a variable before = in line 1"),
    (b"1A=hidden", "no name of a variable before = in line 1"),
    (b"hidden", "no = in line 1; Podman would look for a variable of its own"),
    (b"A=1\nhid*\n", "no = in line 2"),
    (b'A="hidden"', "a value in quotes in line 1; Podman takes them as a part of it"),
    (b"A='hidden'\r\n", "a value in quotes in line 1"),
    (b'A= "hidden" ', "a value in quotes in line 1"),
    (b"A=''", "a value in quotes in line 1"),
    (b"A= hidden", "white space around a value in line 1"),
    (b"A=hidden ", "white space around a value in line 1"),
    (b"A=hidden\t\r", "white space around a value in line 1"),
    (b"A=hidden # said", "a # behind a value in line 1"),
    (b"A=hidden\\\nB=1", "a backslash at the end in line 1"),
    (b"A=hid\0den", "a NUL character in line 1"),
    (b"A=hid\xffden", "bytes that are not UTF-8 in line 1"),
    (b"A=" + b"x" * (1 << 16), "more than 64 KiB in line 1"),
    (b"#" * (1 << 16), "more than 64 KiB in line 1"),
]


@pytest.mark.parametrize(("content", "told"), WRONG, ids=lambda each: repr(each[:20]))
def test_what_podman_would_misread_is_told_by_its_line(content: bytes, told: str) -> None:
    (found,) = misread(content)
    assert f"has {told}" in found
    assert "hid" not in found


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n \n\t\n",
        b"# A = 'x'\n  #=\n",
        b"A=1\r\n  B=2\n_c.d-e=\n",
        b"A=a b=c#d'e'\nB={\"a\": 'b'}\nC='\nD=\"a\" \"b\n",
        b"A=\xc3\xa4$B${C}`d`",
        b"A=" + b"x" * ((1 << 16) - 3) + b"\n",
    ],
)
def test_what_podman_reads_as_it_is_written_is_let_through(content: bytes) -> None:
    assert list(misread(content)) == []


def test_a_byte_order_mark_is_told_beside_what_else_is_wrong() -> None:
    mark, quotes = misread(b"\xef\xbb\xbfA='hidden'\n")
    assert mark.startswith("begins with a byte order mark")
    assert quotes.startswith("has a value in quotes in line 1")


@given(st.binary())
def test_anything_is_read(content: bytes) -> None:
    assert all(each.startswith(("has ", "begins ")) for each in misread(content))
