"""Tests of serve/api/addresses.py."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from serve.api.addresses import client_of, forwarded_from, is_within

PROXIES = (ip_network("10.9.0.0/16"), ip_network("127.0.0.1"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_an_address_counts_as_itself_and_one_of_ipv6_as_its_network(address: str, client: str) -> None:
    assert client_of(address) == client


def test_addresses_are_found_in_ranges() -> None:
    assert all(is_within(address, PROXIES) for address in ("10.9.3.4", "::ffff:10.9.3.4", "127.0.0.1", "fd00::7"))
    assert not any(is_within(address, PROXIES) for address in ("10.8.3.4", "127.0.0.2", "testclient", ""))


@pytest.mark.parametrize(
    ("address", "hops", "client"),
    [
        ("192.0.2.7", ["10.0.0.1"], "192.0.2.7"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["10.0.0.1"], "10.0.0.1"),
        ("127.0.0.1", ["10.0.0.1", "10.9.7.7"], "10.0.0.1"),
        ("127.0.0.1", ["1.2.3.4", "10.0.0.1", "10.9.7.7"], "10.0.0.1"),
        ("127.0.0.1", ["10.0.0.1", "made up", "10.9.7.7"], "10.9.7.7"),
        ("127.0.0.1", ["10.9.1.1", "10.9.7.7"], "10.9.1.1"),
    ],
)
def test_the_client_is_the_last_one_that_is_no_proxy(address: str, hops: list[str], client: str) -> None:
    assert forwarded_from(address, hops, PROXIES) == client
