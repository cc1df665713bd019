"""Compressed bodies: read in any pieces, and never larger than their bounds."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as some

from shared.http.inflating import MEMBERS_MAX, RATIO_FREE_BYTES, Inflating, TooLarge
from shared.kernel.errors import Invalid

BYTES_MAX = 1024 * 1024


def inflated(body: bytes, piece: int = 1_000, bytes_max: int = BYTES_MAX) -> bytes:
    """Return a body that comes in pieces, decompressed."""
    stream = Inflating(bytes_max)
    found = b"".join(stream.add(body[n : n + piece]) for n in range(0, len(body), piece))
    stream.end()
    return found


@given(some.lists(some.binary(max_size=300), min_size=1, max_size=3), some.integers(1, 50))
def test_whatever_the_pieces(contents: list[bytes], piece: int) -> None:
    """Law: what was compressed comes out, of one member or several."""
    body = b"".join(gzip.compress(content) for content in contents)
    assert inflated(body, piece) == b"".join(contents)


@given(some.binary(max_size=300))
def test_what_is_not_gzip(body: bytes) -> None:
    """Law: any bytes are decompressed or Invalid."""
    try:
        inflated(body)
    except Invalid as wrong:
        assert wrong.field == "body"


ZIPPED = gzip.compress(b"x" * 99, mtime=0)


@pytest.mark.parametrize(
    "body",
    [b"{}", ZIPPED[:-1], ZIPPED[:5], ZIPPED + b"{}"],
)
def test_broken_bodies(body: bytes) -> None:
    with pytest.raises(Invalid, match="not gzip"):
        inflated(body)


def test_the_bound_to_the_byte() -> None:
    assert len(inflated(gzip.compress(bytes(range(250)) * 4), bytes_max=1_000)) == 1_000
    with pytest.raises(TooLarge, match="1,000 bytes"):
        inflated(gzip.compress(bytes(range(250)) * 4 + b"x"), bytes_max=1_000)


def test_a_bomb_is_not_opened() -> None:
    """At no time is more decompressed than the bound."""
    bomb = gzip.compress(b"\0" * 50 * BYTES_MAX)
    stream = Inflating(BYTES_MAX)
    with pytest.raises(TooLarge):
        stream.add(bomb)


def test_the_ratio() -> None:
    """A few equal events may compress well; a body that is nearly nothing is refused."""
    assert len(inflated(gzip.compress(b" " * RATIO_FREE_BYTES))) == RATIO_FREE_BYTES
    with pytest.raises(TooLarge, match="100 times"):
        inflated(gzip.compress(b" " * (BYTES_MAX - 1)))


def test_the_number_of_members_is_bounded() -> None:
    assert inflated(gzip.compress(b"x") * MEMBERS_MAX) == b"x" * MEMBERS_MAX
    with pytest.raises(Invalid, match="members"):
        inflated(gzip.compress(b"x") * (MEMBERS_MAX + 1))
