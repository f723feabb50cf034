"""What fuzzing begins with: the tables of the tests, as input of the targets."""

from __future__ import annotations

import json
from pathlib import Path

from tests.router.support.corpus.fields import FIELDS
from tests.router.support.corpus.form_bodies import ACCEPTED as FORMS
from tests.router.support.corpus.form_bodies import REFUSED as NO_FORMS
from tests.router.support.corpus.requests import ENDED, FORWARDED, REFUSED, with_lines
from tests.router.support.corpus.responses import RESPONSES

_LARGEST = 4096  # larger ones slow fuzzing down and teach it nothing
_WHOLE = b"\x00\x00"
_NAMED = (
    b'v1/x\n{"model":"a"}',
    b'v1/x\n{"model":"b","model":"a"}',
    b'v1/x\n{"mod\\u0065l":"\\u00e9/c"}',
    b'v1/x?model=a&x=1\n{"model":"b"}',
    b"v1/x?%6dodel=%C3%A9/c\n",
    b'route/b/v1/x\n{"model":"b","x":[1,{"model":"c"}]}',
    b"route/%C3%A9%2Fc/metrics?model=%C3%A9%2Fc\n",
    b'v1/x?model=a\n{"model":"\xff"}',
    b'v1/x\n{"x":{"model":"a"},"y":["\\"model\\":"],\r\n "model": "b", "stream": true}\n',
    b'route/a\n{"x":"\\ud800","y":NaN,"z":1e999}',
)
_CONFIGS = (
    {"models": {"m": {"url": "http://h:1/p?key=1", "headers": {"X": "y"}, "aliases": ["n"]}}},
    {"listen": ["127.0.0.1:0", "unix:/s", "[::1]:1"], "authTokens": ["${env:A}", "$$x"]},
    {"host": "::1", "port": 1, "workers": 2, "maxBodyBytes": 0, "socketMode": "0600"},
    {"models": {"m": {"url": "unix:/s:/p", "unlisted": True, "idleTimeout": 1.5}}, "tls": {}},
)


def seeds(target: str) -> dict[str, bytes]:
    """The inputs that a target begins with, by a name."""
    if target == "requests":
        found = {name: raw for name, (_, raw) in REFUSED.items()}
        found |= {name: raw for name, (raw, _) in (FORWARDED | ENDED).items()}
        found |= {name: with_lines(*lines) for name, (lines, _) in FIELDS.items()}
    elif target == "responses":
        found = {name: case.raw for name, case in RESPONSES.items()}
    elif target == "forms":
        found = FORMS | NO_FORMS
    elif target == "naming":
        found = {f"named {n}": raw for n, raw in enumerate(_NAMED)}
    else:
        found = {f"config {n}": json.dumps(raw).encode() for n, raw in enumerate(_CONFIGS)}
    return {name: _WHOLE + raw for name, raw in found.items() if len(raw) <= _LARGEST}


def write(target: str, directory: Path) -> None:
    """Write the inputs as files."""
    for number, data in enumerate(seeds(target).values()):
        (directory / f"seed-{number:03}").write_bytes(data)
