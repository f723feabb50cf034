#!/usr/bin/env python3
"""Asks a model through llmhop with the openai client, as a user's program does.

    chat [--stream] MODEL PROMPT

Prints one JSON line: the model that answered, the text, and in how many chunks it came.
It stands on the test host as the command `chat`.
"""

import json
import sys

from openai import OpenAI
from openai.types.chat import ChatCompletionUserMessageParam

*flags, model, prompt = sys.argv[1:]
client = OpenAI(base_url="http://127.0.0.1:8080/v1", api_key="none", max_retries=0)
messages: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": prompt}]

if flags == ["--stream"]:
    stream = client.chat.completions.create(
        model=model, messages=messages, max_tokens=16, stream=True
    )
    chunks = list(stream)
    answered = chunks[0].model
    parts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
else:
    whole = client.chat.completions.create(model=model, messages=messages, max_tokens=16)
    answered, parts = whole.model, [whole.choices[0].message.content or ""]

print(json.dumps({"model": answered, "content": "".join(parts), "chunks": len(parts)}))
