"""Decides which addresses may be called: only those of the public internet, in any notation.

This protects against server-side request forgery. An endpoint's URL comes from outside; it must not
reach our own network or a cloud's metadata service. Names are not resolved here: the caller checks
each address at the moment it connects.
"""

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Network = IPv4Network | IPv6Network

REFUSED: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(cidr), why)
    for cidr, why in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a carrier"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/96", "unspecified, loopback or an IPv4 address in disguise"),
        ("::ffff:0:0/96", "an IPv4 address in disguise"),
        ("::ffff:0:0:0/96", "an IPv4 address in disguise"),
        ("64:ff9b::/96", "an IPv4 address behind NAT64"),
        ("64:ff9b:1::/48", "an IPv4 address behind NAT64"),
        ("100::/64", "discard only"),
        ("2001::/23", "protocol assignments, Teredo among them"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "an IPv4 address behind 6to4"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
"""Networks of IANA's special-purpose registries (RFC 6890 and its successors), with their
purpose."""


def refused(address: str, allowed: Iterable[Network] = ()) -> str | None:
    """Return why `address` may not be called; None when it may.

    `allowed` are networks that an operator has named: a private network of the company's own,
    or loopback in a test.

    >>> refused("93.184.215.14") is None
    True
    >>> refused("169.254.169.254")
    'link-local'
    >>> refused("127.0.0.1", [ip_network("127.0.0.0/8")]) is None
    True
    """
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return "not an IP address"
    if any(_inside(ip, network) for network in allowed):
        return None
    for network, why in REFUSED:
        if _inside(ip, network):
            return why
    if not ip.is_global:
        return "not of the public internet"
    if ip.version == 6 and ip not in GLOBAL_UNICAST:  # noqa: PLR2004
        return "not of the public internet"
    return None


GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
"""The only IPv6 addresses that are allocated for public use."""


def _inside(ip: IPv4Address | IPv6Address, network: Network) -> bool:
    return ip.version == network.version and ip in network
