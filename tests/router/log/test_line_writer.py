"""Lines on their way to a descriptor: whole, in order, bounded, and none lost without a word."""

from __future__ import annotations

import os
import random
import re
import threading
from collections.abc import Callable, Iterator

import pytest
from llmhop.log import line_buffer
from llmhop.log.line_buffer import LineBuffer
from llmhop.log.line_writer import DirectWriter, LineWriter, ThreadWriter

from tests.router.support.descriptors import fill
from tests.router.support.endpoints import TIMEOUT, wait_until

New = Callable[[int, LineBuffer], LineWriter]
WRITERS: list[New] = [ThreadWriter, DirectWriter]


def tell(count: int) -> bytes:
    return b"%d missing\n" % count


def missing(lines: list[bytes]) -> int:
    """How many lines are said to be missing."""
    return sum(int(found[1]) for line in lines if (found := re.fullmatch(rb"(\d+) missing", line)))


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe; its reader is non-blocking, its writer must not become so."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    assert os.get_blocking(writer)
    os.close(reader)
    os.close(writer)


def read(reader: int) -> bytes:
    """Read what is there."""
    found = b""
    try:
        while piece := os.read(reader, 1 << 20):
            found += piece
    except BlockingIOError:
        pass
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_buffer_gives_each_line_once_or_tells_that_it_is_missing(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_buffer, "MAX_WAITING_BYTES", 200)
    chance = random.Random(seed)  # noqa: S311 - only to vary
    buffer = LineBuffer(tell)
    output = b""
    sent = 0
    for _ in range(2000):
        if chance.random() < 0.6:
            count = chance.randint(1, 4)
            buffer.put(b"".join(b"line %d %s\n" % (sent + i, b"x" * 9) for i in range(count)))
            sent += count
        elif piece := buffer.piece(chance.choice((5, 30, 100))):
            if chance.random() < 0.1:
                buffer.failed()
            else:
                count = chance.randint(0, len(piece))
                output += piece[:count]
                buffer.written(count)
        assert buffer.waiting_bytes <= 200 + 100
    for last in (b"", b"last\n"):
        buffer.put(last)
        while piece := buffer.piece(50):
            output += piece
            buffer.written(len(piece))
    dropped = buffer.take_dropped()
    lines = output.splitlines()
    whole = [line for line in lines if re.fullmatch(rb"line \d+ x{9}", line)]
    assert 0 < dropped < sent
    assert len(whole) == len(set(whole)) == sent - dropped
    assert [int(line.split()[1]) for line in whole] == sorted(int(w.split()[1]) for w in whole)
    told = [line for line in lines if line.endswith(b"missing")]
    # A line that was torn stands alone.
    assert all(re.match(rb"l|\d|$", line) for line in lines[:-1])
    assert not any(re.search(rb".line|x\d", line) for line in lines)
    assert missing(lines) == dropped
    assert len(told) > 1
    assert lines[-1] == b"last"
    assert buffer.take_dropped() == 0


@pytest.mark.parametrize("new", WRITERS)
def test_a_full_pipe_keeps_lines_in_order_until_they_are_read(
    new: New, pipe: tuple[int, int]
) -> None:
    reader, writer = pipe
    lines = new(writer, LineBuffer(tell))
    sent = [b"%06d %s\n" % (n, b"x" * 100) for n in range(5000)]
    for line in sent:
        lines.put(line)
    assert lines.waits
    found = b""

    def read_all() -> bool:
        nonlocal found
        found += read(reader)
        lines.flush()
        return len(found) == sum(map(len, sent))

    wait_until(read_all)
    assert found == b"".join(sent)
    assert not lines.take_dropped()
    lines.close(TIMEOUT)


@pytest.mark.parametrize("new", WRITERS)
def test_what_waits_is_bounded_counted_and_told(
    new: New, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_buffer, "MAX_WAITING_BYTES", 10_000)
    reader, writer = pipe
    fill(writer)
    lines = new(writer, LineBuffer(tell))
    for n in range(1000):
        lines.put(b"%06d %s\n" % (n, b"x" * 92))
    assert lines.take_dropped() == 900
    assert lines.take_dropped() == 0
    output = read(reader)
    lines.flush()
    wait_until(lambda: not lines.waits)
    lines.put(b"last\n")
    wait_until(lambda: not lines.waits)
    found = (output + read(reader)).lstrip(b"x").splitlines()
    assert missing(found) == 900
    assert found[-2:] == [b"900 missing", b"last"]
    assert len(found) == 102
    lines.close(TIMEOUT)


@pytest.mark.parametrize("new", WRITERS)
def test_the_end_waits_for_a_reader(new: New, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    fill(writer)
    lines = new(writer, LineBuffer(tell))
    lines.put(b"one\ntwo\n")
    found = []
    thread = threading.Timer(0.1, lambda: found.append(read(reader)))
    thread.start()
    lines.close(TIMEOUT)
    thread.join()
    assert lines.take_dropped() == 0
    assert (found[0] + read(reader)).endswith(b"xone\ntwo\n")


@pytest.mark.parametrize("new", WRITERS)
def test_the_end_does_not_wait_for_ever(new: New, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    fill(writer)
    lines = new(writer, LineBuffer(tell))
    lines.put(b"one\ntwo\n")
    lines.close(0.1)
    assert lines.take_dropped() == 2
    lines.put(b"three\n")
    lines.close(0)
    assert lines.take_dropped() == 1
    read(reader)  # lets a thread go that is still writing


@pytest.mark.parametrize("new", WRITERS)
def test_lines_that_fail_are_counted_and_told_when_it_works_again(
    new: New, monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, int]
) -> None:
    reader, writer = pipe
    works, real = False, os.write

    def write(descriptor: int, data: bytes) -> int:
        if not works:
            raise OSError("no space left")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    lines = new(writer, LineBuffer(tell))
    for _ in range(3):
        lines.put(b"lost\nlost\n")
        wait_until(lambda: not lines.waits)
    assert lines.take_dropped() == 6
    works = True
    lines.put(b"here\n")
    wait_until(lambda: not lines.waits)
    assert read(reader) == b"6 missing\nhere\n"
    lines.close(TIMEOUT)


def test_where_no_thread_can_start_lines_wait_for_one(
    monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, int]
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    reader, writer = pipe
    lines = ThreadWriter(writer, LineBuffer(tell))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        lines.put(b"one\n")
        lines.flush()
    lines.flush()
    lines.close(TIMEOUT)
    assert read(reader) == b"one\n"


def test_a_pipe_that_can_not_be_opened_again_is_written_while_it_has_room(
    monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, int]
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    reader, writer = pipe
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        lines = DirectWriter(writer, LineBuffer(tell))
    lines.put(b"one\n")
    assert read(reader) == b"one\n"
    fill(writer)
    lines.put(b"two\n")  # this would wait for ever
    assert lines.waits
    read(reader)
    lines.flush()
    assert read(reader) == b"two\n"


def test_two_writers_to_one_pipe_do_not_tear_their_lines(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    both = [new(writer, LineBuffer(tell)) for new in WRITERS]
    for n in range(2000):
        for index, lines in enumerate(both):
            lines.put(b"%d %06d %s\n" % (index, n, b"x" * (n % 3000)))
    found = b""

    def read_all() -> bool:
        nonlocal found
        found += read(reader)
        both[1].flush()
        return not any(lines.waits for lines in both)

    wait_until(read_all)
    for lines in both:
        lines.close(TIMEOUT)
    found += read(reader)
    told = [line.split(b" ") for line in found.splitlines()]
    for index in range(2):
        own = [(int(n), len(x)) for i, n, x in told if int(i) == index]
        assert own == [(n, n % 3000) for n in range(2000)]
