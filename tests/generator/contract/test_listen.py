"""Which addresses systemd opens for llmhop: those that it takes, and no other."""

import itertools
import socket

import pytest
from llmhop_generator.contract.listen import streams


def is_address(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        return False
    return True


def test_systemd_opens_the_ipv4_addresses_that_inet_pton_takes() -> None:
    numbers = [*map(str, range(1100)), *(f"{zeros}{n}" for zeros in ("0", "00") for n in range(9))]
    for at, number in itertools.product(range(4), [*numbers, "", "-1", "+1", "x", " 1", "1 "]):
        host = ".".join(number if i == at else "1" for i in range(4))
        assert (streams([f"{host}:80"]) is not None) is is_address(host), host


@pytest.mark.parametrize("host", ["1", "1.2.3", "1.2.3.4.5", "1.2.3.4.", ".1.2.3.4", "1.2.3.4\n"])
def test_it_opens_no_ipv4_address_of_less_or_more_than_four_numbers(host: str) -> None:
    assert streams([f"{host}:80"]) is None


def test_one_address_that_systemd_can_not_open_leaves_all_to_llmhop() -> None:
    assert streams(["127.0.0.1:80", "[::1]:80"]) == ["127.0.0.1:80", "[::1]:80"]
    assert streams(["127.0.0.1:80", "192.168.1.300:80"]) is None
