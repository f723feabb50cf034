"""Bodies as a router may read them, and the heads before them."""

from __future__ import annotations

from itertools import pairwise

from llmhop.http.body.large_body import ScannedBody
from llmhop.http.head import parse_request_head
from llmhop.http.parsed_head import RequestHead


def head_of(content_type: str = "application/json") -> RequestHead:
    line = f"Content-Type: {content_type}\r\n" if content_type else ""
    raw = f"POST /v1/x HTTP/1.1\r\nHost: r\r\n{line}Content-Length: 1\r\n\r\n"
    return parse_request_head(raw.encode())[0]


JSON = head_of()
FORM = head_of("application/x-www-form-urlencoded")


def in_pieces(body: bytes, cuts: list[int]) -> ScannedBody:
    scanned = ScannedBody()
    places = sorted({0, len(body), *[cut % (len(body) + 1) for cut in cuts]})
    for start, end in pairwise(places):
        scanned.append(body[start:end])
    return scanned
