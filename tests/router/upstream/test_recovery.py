"""What llmhop finds out for nobody: whether a backend can be reached, and answers again."""

from __future__ import annotations

import asyncio

import pytest
from llmhop.upstream.recovery import Recovery

from tests.router.conftest import StartFake
from tests.router.support.endpoints import chat, post


async def turns() -> None:
    """Let what was asked be answered."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("ejected", [True, False])
def test_a_fault_of_a_question_is_told_and_means_no(
    ejected: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    async def broken() -> bool:
        raise ZeroDivisionError("fault")

    async def ask() -> Recovery:
        recovery = Recovery(broken, asyncio.get_running_loop())
        recovery.failed()
        recovery.sweep(asyncio.get_running_loop().time() + 100)
        if not ejected:  # a request has found that it answers
            recovery.health.succeeded()
        await turns()
        return recovery

    assert asyncio.run(ask()).health.ejected == ejected
    told = capfd.readouterr().err
    assert "a question whether a backend answers again failed with ZeroDivisionError" in told
    assert "ZeroDivisionError: fault" in told


@pytest.mark.parametrize("answer", [True, False])
def test_an_answer_is_no_fault(answer: bool, capfd: pytest.CaptureFixture[str]) -> None:
    async def question() -> bool:
        return answer

    async def ask() -> Recovery:
        recovery = Recovery(question, asyncio.get_running_loop())
        recovery.failed()
        recovery.sweep(asyncio.get_running_loop().time() + 100)
        await turns()
        return recovery

    assert asyncio.run(ask()).health.ejected != answer
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("leaves", [True, False])
def test_a_fault_of_an_attempt_to_connect_is_told_though_nobody_waits(
    leaves: bool, start_fake: StartFake, capfd: pytest.CaptureFixture[str]
) -> None:
    router = start_fake()
    client = router.client()
    router.send(client, post(chat()))
    [asked] = router.loop.connecting
    if leaves:
        router.event(client.peer_resets)
    router.event(lambda: asked.set_exception(ZeroDivisionError("fault")))
    assert "ZeroDivisionError: fault" in capfd.readouterr().err
