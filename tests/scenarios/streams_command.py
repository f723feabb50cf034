#!/usr/bin/env python3
"""Reads many streams through llmhop at once with the openai client, and asks short things beside.

    streams COUNT WORDS PAUSE MODEL…

Starts COUNT streams, spread over the models, each of an answer with some WORDS more words than
its prompt asks for and PAUSE seconds between two of them; one client more asks each model in turn
until the streams have ended. Prints one JSON line: how many streams were `whole` and how many
were `broken` (the client raised an error), how many short questions were `answered`, and the
`errors` by what the client says. A stream that ends short without an error fails the command.
It stands on the test host as the command `streams`.
"""

import asyncio
import itertools
import json
import sys
from collections import Counter

from openai import APIError, AsyncOpenAI
from openai.types.chat import ChatCompletionUserMessageParam

count, words, pause = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
models = sys.argv[4:]
client = AsyncOpenAI(base_url="http://127.0.0.1:8080/v1", api_key="none")
seen: Counter[str] = Counter()
errors: Counter[str] = Counter()


def message(text: str) -> list[ChatCompletionUserMessageParam]:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


async def read(number: int, model: str) -> None:
    """Read one stream to its end."""
    prompt = " ".join([str(number)] * words)
    try:
        stream = await client.chat.completions.create(
            model=model, messages=message(prompt), stream=True, extra_body={"chunk_delay": pause}
        )
        parts = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    except Exception as error:  # whatever a program of a user would get
        seen["broken"] += 1
        errors[f"{type(error).__name__}: {error}"] += 1
        return
    text = "".join(parts)
    if text != f"{model} heard: {prompt}":
        raise SystemExit(f"a stream ended short and told nobody: {text!r}")
    seen["whole"] += 1


async def ask() -> None:
    """Ask one short thing after another."""
    for model in itertools.cycle(models):
        try:
            await client.chat.completions.create(model=model, messages=message("hello"))
            seen["answered"] += 1
        except APIError as error:
            errors[f"{type(error).__name__}: {error}"] += 1
        await asyncio.sleep(0.05)


async def main() -> None:
    """Run the streams, and the questions as long as they last."""
    asking = asyncio.create_task(ask())
    async with asyncio.TaskGroup() as group:
        for number, model in zip(range(count), itertools.cycle(models), strict=False):
            group.create_task(read(number, model))
    asking.cancel()
    print(json.dumps({"whole": 0, "broken": 0, "answered": 0, **seen, "errors": errors}))


asyncio.run(main())
