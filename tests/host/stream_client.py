#!/usr/bin/env python3
"""Streams chats through llmhop without a pause, and logs how each went.

    stream_client LOG STOP MODEL…

One stream after the other for each MODEL, and one for the first that lasts until the file
STOP exists. LOG gets a JSON line for each: model, begin and end in seconds of the clock,
the number of chunks, and what went wrong, or null. It stands on the test host.
"""

import http.client
import json
import sys
import threading
import time
from pathlib import Path

WORDS, CHUNK_S = 6, 0.1
LONG_WORDS = 20_000


def stream(model: str, words: int, stop: Path | None) -> tuple[int, str | None]:
    """Take one stream; give the chunks that came, and what went wrong."""
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=30)
    message = {"role": "user", "content": "word " * words}
    body = {"model": model, "stream": True, "chunk_delay": CHUNK_S, "messages": [message]}
    chunks = 0
    try:
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        if answer.status != 200:
            return 0, f"status {answer.status}"
        for line in answer:
            if line.startswith(b"data: [DONE]"):
                return chunks, None
            chunks += line.startswith(b"data: ")
            if stop is not None and stop.exists():
                return chunks, None
        return chunks, "ended early"
    except (OSError, http.client.HTTPException) as error:
        return chunks, repr(error)
    finally:
        connection.close()


def main() -> None:
    log, stop, models = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    writing = threading.Lock()

    def tell(model: str, words: int, until: Path | None) -> str | None:
        begun = time.time()
        chunks, wrong = stream(model, words, until)
        line = {"model": model, "begin": begun, "end": time.time()}
        line |= {"chunks": chunks, "wrong": wrong, "long": until is not None}
        with writing, log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        return wrong

    def again(model: str) -> None:
        while not stop.exists():
            if tell(model, WORDS, None) is not None:
                time.sleep(0.2)

    threads = [threading.Thread(target=again, args=(model,)) for model in models]
    threads.append(threading.Thread(target=tell, args=(models[0], LONG_WORDS, stop)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
