"""Addresses of clients: what counts as one of them, and which are trusted proxies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network


@lru_cache(4096)
def client_of(address: str) -> str:
    """What an address counts as: itself, or the /64 network of IPv6, which one customer is given as a whole. A text that is
    no address counts as itself.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or IPv6Network((int(found) >> 64 << 64, 64)))


@lru_cache(4096)
def is_within(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address is in one of the networks."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in networks)


def forwarded_from(address: str, hops: Sequence[str], proxies: tuple[Network, ...]) -> str:
    """The address that a request came from, given that of the connection and the values of X-Forwarded-For: the last one
    that no trusted proxy has. What stands before it the client may have made up.
    """
    for hop in reversed(hops):
        if not is_within(address, proxies):
            break
        try:
            address = str(ip_address(hop))
        except ValueError:
            break
    return address
