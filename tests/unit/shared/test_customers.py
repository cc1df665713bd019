"""Texts that are no customer id: the stream refuses them, and the reader of files omits them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.core.customers import customer
from services.scoring.training.data.event_file import read
from shared.contracts.customers import NO_CUSTOMER, is_customer
from shared.kernel.errors import Invalid

CASES = st.sampled_from([str, str.upper, str.title, str.swapcase])
UNSEEN = st.text(st.sampled_from(" \u00a0\u200b\u200d\ufeff\u3000\u2060\u3164\u2800"), max_size=3)
WORDS = st.sampled_from(sorted(NO_CUSTOMER))


@given(WORDS, CASES, UNSEEN, UNSEEN)
def test_a_word_of_broken_clients_is_no_customer(
    word: str, case: object, before: str, after: str
) -> None:
    assert callable(case)
    written = f"{before}{case(word)}{after}"
    assert not is_customer(written)
    with pytest.raises(Invalid, match=r"^subject: .* where it knows of no customer$"):
        customer(written)


@given(UNSEEN)
def test_what_is_not_seen_is_no_customer(text: str) -> None:
    assert not is_customer(text)
    with pytest.raises(Invalid, match="blank"):
        customer(text)


@given(st.lists(WORDS | st.text("aN-ü客\u200b ", min_size=1, max_size=5), min_size=1, max_size=12))
def test_files_leave_out_what_the_stream_refuses(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    path = tmp_path_factory.mktemp("names") / "orders.csv"
    rows = [f'"{name}",2024-01-{at + 1:02}' for at, name in enumerate(["known", *names])]
    path.write_text("\n".join(["customer,ts", *rows]), encoding="utf-8")
    found = read(path)
    assert all(map(is_customer, found.table.customers))
    left_out = sum(not is_customer(name) for name in names)
    assert found.read.without_customer >= left_out
    assert found.read.without_customer + len(found.table.events) == len(names) + 1
