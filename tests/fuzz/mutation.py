"""Makes bytes that are nearly valid for a decoder: samples with errors in them.

The same seed makes the same bytes. The errors are those of practice and of attacks: values of
another type, huge numbers and texts, unbounded nesting, cut and torn bytes.
"""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any, Final

HOSTILE: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**70), 10**400, 1.5, 1e308, -0.0, "", " ", "0",
    "-1", "NaN", "inf", "1e999", "9" * 30, "9" * 6_000, "a\0b", "\u202e", "\U0010ffff", "名" * 300,
    "x" * 70_000, "1970-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "../../x",
    "a\r\nb: c", "America", "Z" * 300, "{{ '{x}'.format(1) }}", "{{ 3**30000000 }}", "http://[::1",
    "https://h:99999999", [], [None], [[]], [{}], {}, {"id": None}, {"value": {"value": 1}},
    "SUCCESS", "DUPLICATE_DATA", "INVALID_TOKEN", 20016, 42014, 40001,
)  # fmt: skip
RAW: Final[tuple[bytes, ...]] = (
    b"", b"null", b"[]", b"{}", b"0", b'""', b"<html>", b"\xff\xfe\x00", b"\xef\xbb\xbf{}",
    b"[" * 100_000, b'{"a":' * 50_000, b"1" * 5_000, b"1e999999", b'"\xed\xa0\x80"', b'"\\ud800"',
    b"\x00", b"{" + b'"a":1,' * 1_000 + b"}", b"<?xml version='1.0' encoding='x-none'?><a/>",
    b"<?xml version='1.0' encoding='utf-16'?><a/>", b"<a>" * 20_000, b"<!DOCTYPE a []><a/>",
)  # fmt: skip

DEPTH_MAX = 10_000
"""Levels of the deepest text."""


def mutated(rng: random.Random, samples: tuple[Any, ...]) -> bytes:
    """Returns a sample (a JSON value, or bytes as they are) with an error, or raw bytes."""
    kind = rng.random()
    if kind < 0.05:
        return rng.choice(RAW)
    if kind < 0.1:
        return rng.randbytes(rng.randrange(200))
    sample = rng.choice(samples)
    if isinstance(sample, bytes):
        return _torn(rng, sample)
    value = copy.deepcopy(sample)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        value = _changed(rng, value)
    ascii_only = rng.random() < 0.5
    try:
        encoded = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    except RecursionError:  # several deep values within one another
        encoded = b"[" * DEPTH_MAX
    return _torn(rng, encoded) if rng.random() < 0.1 else encoded


def plain(rng: random.Random, sample: Any) -> Any:
    """Returns a JSON value with an error in it, as read back from a column."""
    return _changed(rng, copy.deepcopy(sample))


def _changed(rng: random.Random, value: Any) -> Any:
    """Returns the value with one random part changed."""
    whole = [value]  # so that the value itself has a place too
    container, place = rng.choice(list(_places(whole)))
    part = container[place]
    what, new = rng.random(), copy.deepcopy(rng.choice(HOSTILE))
    if what < 0.15 and isinstance(part, dict) and part:
        part.pop(rng.choice(list(part)))
    elif what < 0.25 and isinstance(part, dict):
        part[rng.choice(("id", "code", "data", "a\0b", "", "x" * 300))] = new
    elif what < 0.3:
        for _ in range(rng.choice((3, 40, 400))):
            part = [part] if rng.random() < 0.5 else {"value": part}
        container[place] = part
    else:
        container[place] = new
    return whole[0]


def _places(container: Any) -> Iterator[tuple[Any, Any]]:
    """Yields (container, index or name) of each part, at any depth."""
    names = list(container) if isinstance(container, dict) else range(len(container))
    for name in names:
        yield container, name
        if isinstance(container[name], (dict, list)):
            yield from _places(container[name])


def _torn(rng: random.Random, value: bytes) -> bytes:
    """Returns bytes cut off, flipped or doubled."""
    torn = bytearray(value)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(torn) + 1)
        match rng.randrange(3):
            case 0:
                del torn[at:]
            case 1 if at < len(torn):
                torn[at] ^= 1 << rng.randrange(8)
            case _:
                torn[at:at] = torn[max(0, at - 8) : at] or b"\xff"
    return bytes(torn)
