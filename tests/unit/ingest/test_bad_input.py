"""Bad input, row by row, with its errors (R20)."""

import pytest

from services.ingest.core.faults import FIELD_CHARS_MAX, REASON_CHARS_MAX
from services.ingest.core.rates import RateTable
from shared.kernel.errors import Invalid
from tests.unit.ingest.events import ARRIVED_MS, BAD, BAD_BY_ARRIVAL, Bad, accept, encoded, purchase

RATES = RateTable("USD")


@pytest.mark.parametrize("bad", (*BAD, *BAD_BY_ARRIVAL), ids=str)
def test_field_and_reason(bad: Bad) -> None:
    """Every row is refused, naming the field and the reason."""
    with pytest.raises(Invalid) as refused:
        accept(bad.value, bad.headers, ARRIVED_MS, RATES)
    assert refused.value.field == bad.field
    assert bad.reason in refused.value.reason


def test_a_dead_letters_headers_are_bounded() -> None:
    """Names that a sender makes up cannot make a dead letter's headers grow."""
    deep = {"k" * 500: {"k" * 500: {"k" * 500: {"k" * 500: "\0"}}}}
    for value in (purchase(**deep), encoded(specversion="9" * 10_000)):
        with pytest.raises(Invalid) as refused:
            accept(value, (), ARRIVED_MS, RATES)
        assert len(refused.value.field) <= FIELD_CHARS_MAX
        assert len(refused.value.reason) <= REASON_CHARS_MAX


def test_what_only_looks_bad_passes() -> None:
    """An escaped backslash before `u0000` is no NUL, and before `u003a` no colon."""
    for text in (r"a\\u0000b", r"a\\u003ab", r"a\u003ab", r"a\/b:c"):
        value = encoded(subject="@").replace(b"@", text.encode())
        assert accept(value, (), ARRIVED_MS, RATES).subject[0] == "a"
