"""What is a frame, and what is half of one."""

from uuid import UUID

import pytest

from services.ingest.core.framing.frame import HEADER, Frame, frame_of
from shared.kernel.errors import Invalid

GUID = UUID("89791762-2336-4186-9674-299b90a802e2")


@pytest.mark.parametrize(
    ("value", "headers", "frame"),
    [
        (b"\0\0\0\0\x07body", (), Frame(7, b"body")),
        (b"\0\x7f\xff\xff\xff", (), Frame(2**31 - 1, b"")),
        (b"\1" + GUID.bytes + b"body", (), Frame(GUID, b"body")),
        (b"body", ((HEADER, b"\1" + GUID.bytes),), Frame(GUID, b"body", b"")),
        (b"body", ((HEADER, b"\1" + GUID.bytes + b"\2\4"),), Frame(GUID, b"body", b"\2\4")),
        (b"\0\0\0\0\1", ((HEADER, b"\0\0\0\0\x07"),), Frame(7, b"\0\0\0\0\1", b"")),
    ],
)
def test_a_frame_is_split(value: bytes, headers: tuple[tuple[str, bytes]], frame: Frame) -> None:
    """A header goes before the value's beginning, as Confluent's own readers do."""
    assert frame_of(value, headers) == frame


@pytest.mark.parametrize("value", [b"", b"{}", b"[1]", b" {}", b"\x02rest", b"\xff\xfe"])
def test_other_values_have_no_frame(value: bytes) -> None:
    assert frame_of(value, (("ce_id", b"1"),)) is None


@pytest.mark.parametrize(
    ("value", "headers", "field", "reason"),
    [
        (b"\0\0\0\1", (), "value", "ends within the schema's id"),
        (b"\1" + GUID.bytes[:15], (), "value", "ends within the schema's id"),
        (b"\0\x80\0\0\0body", (), "value", "schema 2147483648"),
        (b"{}", ((HEADER, None),), HEADER, "begins with neither"),
        (b"{}", ((HEADER, b"7"),), HEADER, "begins with neither"),
        (b"{}", ((HEADER, b"\1abc"),), HEADER, "ends within"),
    ],
)
def test_half_a_frame_is_refused(
    value: bytes, headers: tuple[tuple[str, bytes | None]], field: str, reason: str
) -> None:
    with pytest.raises(Invalid) as refused:
        frame_of(value, headers)
    assert refused.value.field == field
    assert reason in refused.value.reason
