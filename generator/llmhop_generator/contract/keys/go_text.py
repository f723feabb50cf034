"""How Podman, a Go program, reads numbers, lengths of time, sizes and addresses.

Sources: strconv, time and net of Go; docker/go-units; spf13/pflag, by which Podman reads its
arguments.
"""

import re
from ipaddress import IPv6Address, ip_address

_NUMBER = re.compile(
    "0[xX](_?[0-9a-fA-F])+|0[bB](_?[01])+|0[oO](_?[0-7])+|0(_?[0-7])*|[1-9](_?[0-9])*"
)
_UNSIGNED_MAX = 2**64 - 1
_SIGNED_MAX = 2**63 - 1

LENGTH = r"[+-]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+"
"""A length of time other than a bare 0 (time.ParseDuration)."""

# What either of the two takes: before 0.5.1 go-units had a regex for it.
SIZE = r"(?i:\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)? ?[kmgtp]?i?b?)"
"""An amount of memory (RAMInBytes of go-units)."""


def unsigned(text: str) -> int | None:
    """The number that ParseUint(text, 0, 64) gives; None where that fails."""
    if not _NUMBER.fullmatch(text):
        return None
    plain = text.replace("_", "").lower()
    if plain.startswith("0") and plain[1:].isdecimal():
        plain = f"0o{plain[1:]}"
    number = int(plain, 0)
    return number if number <= _UNSIGNED_MAX else None


def is_unsigned(text: str) -> bool:
    """Whether a flag of a number that is not below 0 takes a text."""
    return unsigned(text) is not None


def is_signed(text: str) -> bool:
    """Whether a flag of a number takes a text (ParseInt with 64 bits)."""
    number = unsigned(text[text[:1] in ("+", "-") :])
    return number is not None and number <= _SIGNED_MAX


def is_float(text: str) -> bool:
    """Whether a flag of a number with a fraction takes a text; as far as both languages agree."""
    try:
        float(text)
    except ValueError:
        return re.match("[+-]?0[xX]", text) is not None  # Go reads hexadecimal fractions
    return True


def is_size(text: str) -> bool:
    """Whether an amount of memory is read."""
    return re.fullmatch(SIZE, text) is not None


def is_true_or_false(text: str) -> bool:
    """Whether a switch takes a text (strconv.ParseBool)."""
    return text in ("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False")


def is_address(text: str) -> bool:
    """Whether an IP address is read (net.ParseIP), which takes no zone."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (isinstance(address, IPv6Address) and address.scope_id)
