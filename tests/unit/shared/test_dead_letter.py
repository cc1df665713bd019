"""Any consumed record becomes a dead letter that can be stored, sent and read again."""

from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.dead_letter import BYTES_MAX, HEADERS_KEPT_MAX, DeadLetter
from shared.kafka.producer import RECORD_BYTES_MAX
from shared.postgres.outbox import Message, pack, unpack
from tests.fakes.log import Consumed

CAUSE = ("t", 0)
SIZES = st.sampled_from(
    [0, 1, BYTES_MAX // 2, BYTES_MAX - 1, BYTES_MAX, BYTES_MAX + 1, 3 * BYTES_MAX]
)
BYTES = st.none() | SIZES.map(bytes) | st.binary(max_size=20)
NAMES = st.text(st.characters(codec="utf-8"), max_size=20) | st.just("x" * 200_000)
HEADERS = st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=20)), max_size=5)
MANY = st.sampled_from([1, HEADERS_KEPT_MAX, HEADERS_KEPT_MAX + 1])


@given(key=BYTES, value=BYTES, headers=HEADERS, many=MANY, reason=st.text(max_size=20))
def test_any_record_becomes_a_dead_letter(
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes | None]],
    many: int,
    reason: str,
) -> None:
    """One decompressed to many times what a topic accepts, one has null headers."""
    all_of_them = tuple(headers) * many
    record = Consumed("t", 0, 7, value, key, headers=all_of_them)
    letter = DeadLetter.of(record, "alerts", "value", reason)
    sent = Message(CAUSE, "dead", letter.key, letter.value, letter.to_headers())
    (back,) = unpack(CAUSE, pack([sent]))
    assert DeadLetter.from_record(back.key, back.value, back.headers) == letter

    size = sum(len(name.encode()) + len(shown or b"") for name, shown in sent.headers)
    size += len(sent.key or b"") + len(sent.value or b"")
    assert size + 20 * len(sent.headers) < RECORD_BYTES_MAX
    whole = len(key or b"") + len(value or b"")
    if whole <= BYTES_MAX:
        assert (letter.key or b"", letter.value) == (key or b"", value)
    else:
        assert f"of {whole:,} bytes" in letter.reason
        assert ((key or b"") + (value or b"")).startswith(
            (letter.key or b"") + (letter.value or b"")
        )
    assert letter.original_headers == all_of_them[: len(letter.original_headers)]
