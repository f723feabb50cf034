"""What a reload takes of a config, key by key, and what waits for a restart."""

from __future__ import annotations

from typing import Any

import pytest
from llmhop.config.config import CONFIG, Certificate, Config
from llmhop.config.parser import after_reload, parse

from tests.router.support.corpus.config import MODELS
from tests.router.support.corpus.full_config import ALTERNATIVES, FULL

VALUES = FULL | {key: value for key, (_, value) in ALTERNATIVES.items()}
CERTIFICATE = {"certificate": "cert.pem", "key": "key.pem"}


def config(given: dict[str, Any], chain: bytes = b"chain") -> Config:
    """A config whose certificate is `chain`."""
    return parse({"models": MODELS, **given}, str, lambda _chain, _key: Certificate(chain, b"key"))


def test_there_is_a_value_for_every_key() -> None:
    assert VALUES.keys() == CONFIG.settings.keys()


@pytest.mark.parametrize("key", CONFIG.settings)
def test_a_key_is_taken_at_a_reload_or_the_old_one_stays_with_a_note(key: str) -> None:
    setting = CONFIG.settings[key]
    old, new = config({}), config({key: VALUES[key]})
    before, after = getattr(old, setting.field), getattr(new, setting.field)
    assert before != after
    for first, second, stays, comes in ((old, new, before, after), (new, old, after, before)):
        kept, notes = after_reload(first, second)
        waits = setting.at_start != "no"
        assert getattr(kept, setting.field) == (stays if waits else comes)
        note = f"{key} was changed: this takes effect after a restart"
        assert notes == ([note] if waits else [])


def test_a_new_certificate_is_taken_at_a_reload() -> None:
    old, new = config({"tls": CERTIFICATE}, b"old"), config({"tls": CERTIFICATE}, b"new")
    assert after_reload(old, new) == (new, [])
