"""Failure test 12: which addresses may be called, row by row."""

from ipaddress import ip_network

import pytest

from services.alerts.delivery.core.blocked_networks import REFUSED, refused

PUBLIC = ("93.184.215.14", "1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.0", "100.63.255.255",
          "100.128.0.0", "169.253.255.255", "11.0.0.1", "223.255.255.255", "192.0.1.1",
          "198.17.255.255", "2606:4700::1111", "2a00:1450:4001::1", "2400:3200::1")  # fmt: skip

FORGED = (
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback elsewhere in its network"),
    ("0.0.0.0", "any address of this host"),  # noqa: S104 (not bound: refused)
    ("0.1.2.3", "this network"),
    ("10.0.0.1", "private"),
    ("10.255.255.255", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.168.1.1", "private"),
    ("100.64.0.1", "carrier-grade NAT"),
    ("100.100.100.200", "a cloud's metadata service"),
    ("169.254.169.254", "clouds' metadata service"),
    ("169.254.0.1", "link-local"),
    ("192.0.0.192", "a cloud's metadata service"),
    ("192.0.2.1", "documentation"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("192.88.99.1", "6to4 relay"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.250", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::127.0.0.1", "v4-compatible"),
    ("::ffff:127.0.0.1", "v4-mapped"),
    ("::ffff:169.254.169.254", "v4-mapped"),
    ("::ffff:8.8.8.8", "v4-mapped, although the inner address is public"),
    ("::ffff:0:10.0.0.1", "v4-translated"),
    ("64:ff9b::7f00:1", "NAT64 of loopback"),
    ("64:ff9b::808:808", "NAT64"),
    ("64:ff9b:1::a00:1", "local NAT64"),
    ("2002:7f00:1::", "6to4 of loopback"),
    ("2002:a9fe:a9fe::", "6to4 of a metadata service"),
    ("2001::1", "Teredo"),
    ("2001:db8::1", "documentation"),
    ("3fff::1", "documentation"),
    ("100::1", "discard"),
    ("fc00::1", "unique local"),
    ("fd00:ec2::254", "a cloud's metadata service"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local with a zone"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
    ("5f00::1", "segment routing"),
    ("4000::1", "not given out to anybody"),
    ("2130706433", "an address written as a number"),
    ("0x7f.1", "an address written in hexadecimal"),
    ("localhost", "a name"),
    ("", "nothing"),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_12_public_addresses_may_be_called(address: str) -> None:
    assert refused(address) is None


@pytest.mark.parametrize(("address", "what"), FORGED)
def test_12_no_other_may(address: str, what: str) -> None:
    assert refused(address), what


@pytest.mark.parametrize("network", [str(network) for network, _ in REFUSED])
def test_12_first_and_last_of_each_refused_network(network: str) -> None:
    found = ip_network(network)
    assert refused(str(found[0]))
    assert refused(str(found[-1]))


def test_12_what_an_operator_names_may_be_called_and_nothing_beside_it() -> None:
    allowed = [ip_network("10.20.0.0/16"), ip_network("fd00:1::/64")]
    assert refused("10.20.30.40", allowed) is None
    assert refused("fd00:1::5", allowed) is None
    assert refused("10.21.0.1", allowed)
    assert refused("::ffff:10.20.30.40", allowed), "in disguise it was not named"
