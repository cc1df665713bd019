"""The trace context of a record is passed on where it is valid, and left out where it is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.headers import TRACEPARENT, TRACESTATE
from shared.contracts.trace import STATE_BYTES_MAX, STATE_MEMBERS_MAX, trace_of

TRACE_ID = b"0af7651916cd43dd8448eb211c80319c"
SPAN_ID = b"b7ad6b7169203331"
PARENT = b"00-%b-%b-01" % (TRACE_ID, SPAN_ID)

HEX = "0123456789abcdef"
PARENTS = st.builds(
    "00-{}-{}-{}".format,
    st.text(HEX, min_size=32, max_size=32).filter(lambda text: text.strip("0")),
    st.text(HEX, min_size=16, max_size=16).filter(lambda text: text.strip("0")),
    st.text(HEX, min_size=2, max_size=2),
).map(str.encode)


@given(PARENTS)
def test_a_valid_one_is_passed_on_unchanged(parent: bytes) -> None:
    alone = ((TRACEPARENT, parent),)
    assert trace_of(alone) == alone
    assert trace_of((("content-type", b"x"), *alone, ("baggage", b"customer=ann"))) == alone


@given(st.binary(max_size=400), st.binary(max_size=700))
def test_any_bytes_are_read_without_an_error(parent: bytes, state: bytes) -> None:
    """What comes out is valid, and so is what comes out of that."""
    found = trace_of(((TRACEPARENT, parent), (TRACESTATE, state)))
    assert trace_of(found) == found
    kept = trace_of(((TRACEPARENT, PARENT), (TRACESTATE, state)))
    assert kept[0] == (TRACEPARENT, PARENT)
    assert trace_of(kept) == kept
    assert sum(len(value or b"") for _, value in kept) <= len(PARENT) + STATE_BYTES_MAX


@pytest.mark.parametrize(
    "parent",
    [
        None,
        b"",
        b"nonsense",
        PARENT + b"-more",
        PARENT + b"\n",
        PARENT.upper(),
        b" " + PARENT,
        PARENT[:-1],
        b"ff" + PARENT[2:],
        b"00-%b-%b-01" % (b"0" * 32, SPAN_ID),
        b"00-%b-%b-01" % (TRACE_ID, b"0" * 16),
        "00-０af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".encode(),
        b"cc-%b-%b-01-\x1b[2J" % (TRACE_ID, SPAN_ID),
        b"cc-%b-%b-01-%b" % (TRACE_ID, SPAN_ID, b"x" * 100_000),
    ],
)
def test_a_malformed_one_is_left_out(parent: bytes | None) -> None:
    """With its trace state, which means nothing alone."""
    assert trace_of(((TRACEPARENT, parent), (TRACESTATE, b"a=1"))) == ()


def test_several_are_none() -> None:
    other = PARENT[:-2] + b"00"
    assert trace_of(((TRACEPARENT, PARENT), (TRACEPARENT, other))) == ()


@pytest.mark.parametrize("later", [b"01-%b-%b-ff", b"cc-%b-%b-03-what-the-future-brings"])
def test_of_a_later_version_the_known_fields_count(later: bytes) -> None:
    assert trace_of(((TRACEPARENT, later % (TRACE_ID, SPAN_ID)),)) == ((TRACEPARENT, PARENT),)


@pytest.mark.parametrize(
    ("given_states", "kept"),
    [
        ([b"a=1,b@v=x y"], b"a=1,b@v=x y"),
        ([b"a=1", b"b=2"], b"a=1,b=2"),
        ([b" a=1 ,\t,b=2"], b"a=1,b=2"),
        ([b"a=1,a=2"], None),
        ([b"A=1"], None),
        ([b"a=\xff"], None),
        ([b"a=1\r\nx: y"], None),
        ([b"a=" + b"x" * 600], None),
        ([b",".join(b"k%d=1" % n for n in range(STATE_MEMBERS_MAX))], "same"),
        ([b",".join(b"k%d=1" % n for n in range(STATE_MEMBERS_MAX + 1))], None),
    ],
)
def test_a_trace_state(given_states: list[bytes], kept: bytes | str | None) -> None:
    """It is passed on, or left out as a whole."""
    state = given_states[0] if kept == "same" else kept
    found = trace_of(((TRACEPARENT, PARENT), *((TRACESTATE, each) for each in given_states)))
    assert found == ((TRACEPARENT, PARENT), *([] if state is None else [(TRACESTATE, state)]))
