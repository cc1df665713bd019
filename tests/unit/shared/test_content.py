"""Texts, times, zones, cursors and numbers: limits that hold on every route."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from shared.http.app import create_app
from shared.http.content import DEPTH_MAX, TooDeep, look_at
from shared.http.fields import Instant, ZoneName
from shared.http.paging import Cursor, encoded, number, of_cursor, serial, time, whole
from shared.http.problems import PROBLEM_JSON
from shared.kernel.errors import Invalid
from shared.kernel.times import EARLIEST, LATEST
from shared.runtime.health import Health
from tests.fakes.clock import SetClock


class Given(BaseModel):
    """The parameters that a route takes."""

    text: str = ""
    at: Instant | None = None
    zone: ZoneName | None = None
    rest: Any = None


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Provide a client of routes without checks of their own."""
    app = create_app("test", Health(SetClock()))

    @app.post("/v1/things/{thing}")
    async def change(thing: str, given: Given, word: str = "", at: Instant | None = None) -> str:
        return f"{thing} {word} {given.text} {at}"

    @app.get("/v1/things")
    async def things(cursor: Cursor = None) -> list[Any]:
        return [] if cursor is None else of_cursor(cursor, whole, number, time)

    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made


def problem(answer: httpx.Response, status: int) -> str:
    """Return the detail of a problem document with this status."""
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, PROBLEM_JSON)
    return str(answer.json()["detail"])


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/things/a%00b", "path"),
        ("/v1/things/%ed%a0%80", "path or query"),
        ("/v1/things/%ff", "path or query"),
        ("/v1/things/7?word=a%00", "query.word"),
        ("/v1/things/7?a%00=1", "query"),
        ("/v1/things/7?word=%ff", "path or query"),
        ("/v1/things/7?at=0001-01-01T00:00:00%2B14:00", "query.at"),
        ("/v1/things/7?at=9999-12-31T23:59:59-14:00", "query.at"),
        ("/v1/things/7?at=2026-01-01T00:00:00", "query.at"),
    ],
)
async def test_paths_and_queries(client: httpx.AsyncClient, path: str, field: str) -> None:
    """The answer is 422 and names the parameter."""
    detail = problem(await client.post(path, json={}), 422)
    assert detail.startswith(f"{field}: "), detail


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (rb'{"text": "a\u0000b"}', "text"),
        (rb'{"text": "\ud800"}', "text"),
        (rb'{"rest": [{"a": ["\udfff"]}]}', "rest[0].a[0]"),
        (rb'{"rest": {"\ud800": 1}}', "rest.\\ud800"),
        (rb'{"rest": {"a\u0000": 1}}', "rest.a\\u0000"),
        (b'{"rest": ' + b"9" * 5_000 + b"}", "rest"),
        (b'{"rest": -' + b"9" * 19 + b"}", "rest"),
        (b'{"rest": [1e999]}', "rest[0]"),
        (b'{"rest": NaN}', "body"),
        (b'{"text": "\xff"}', "body"),
        (b"{", "body"),
        (b"{} {}", "body"),
        (b'{"at": "0001-01-01T00:00:00+14:00"}', "body.at"),
        (b'{"at": "9999-12-31T23:59:59-14:00"}', "body.at"),
        (b'{"zone": "America"}', "body.zone"),
        (b'{"zone": "US"}', "body.zone"),
        (b'{"zone": "../../etc/passwd"}', "body.zone"),
        (b'{"zone": "' + b"x" * 300 + b'"}', "body.zone"),
        (b"[]", "body"),
        (b'{"text": "a", "text": "b"}', "text"),
        (b'{"rest": [{"a": 1, "a": 1}]}', "a"),
    ],
)
async def test_an_unstorable_text_in_a_body_is_refused_with_its_field(
    client: httpx.AsyncClient, body: bytes, field: str
) -> None:
    """The answer is 422 and names the field, however it is hidden."""
    headers = {"Content-Type": "application/json"}
    detail = problem(await client.post("/v1/things/7", content=body, headers=headers), 422)
    assert detail.startswith(f"{field}: "), detail


async def test_what_is_whole_passes(client: httpx.AsyncClient) -> None:
    """Any script, an escaped pair, long fractions, a time with an offset, a zone pass."""
    body = (
        rb'{"text": "\ud83d\ude00 \\u0000", "rest": [0.12345678901234567890123, '
        rb'"1234567890123456789012"], "at": "2026-03-01T09:00:00+08:00", "zone": "Asia/Shanghai"}'
    )
    headers = {"Content-Type": "application/json; charset=utf-8"}
    path = f"/v1/things/{quote('客户/7', safe='')}?word={quote('ü')}"
    answer = await client.post(path.replace("%2F", ""), content=body, headers=headers)
    assert answer.status_code == 200
    assert answer.json() == "客户7 ü 😀 \\u0000 None"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1",
        "1 2",
        "1 nan 2026-01-01T00:00:00Z",
        "1 inf 2026-01-01T00:00:00+00:00 t",
        "9999999999 1 2026-01-01T00:00:00+00:00 t",
        "-1 1 2026-01-01T00:00:00+00:00 t",
        "٣ 1 2026-01-01T00:00:00+00:00 t",
        "1 1 0001-01-01T00:00:00+14:00 t",
        "1 1 9999-12-31T23:59:59-14:00 t",
        "1 1 2026-01-01T00:00:00 t",
        "1 1 2026-01-01T00:00:00+00:00 ",
        "1 1 2026-01-01T00:00:00+00:00 a\0",
        "9" * 2_900,
    ],
)
async def test_a_forged_cursor_is_refused_or_read(client: httpx.AsyncClient, text: str) -> None:
    """Cursors contain each kind of value, at and beyond its bounds."""
    detail = problem(await client.get("/v1/things", params={"cursor": encoded(text) or ""}), 422)
    assert "cursor" in detail


@pytest.mark.parametrize("cursor", ["%%%", "AAA", "_-8=", "x" * 5_000, "é"])
async def test_cursors_that_are_no_base64(client: httpx.AsyncClient, cursor: str) -> None:
    """The text may be invalid base64, or contain bytes that are no UTF-8."""
    assert "cursor" in problem(await client.get("/v1/things", params={"cursor": cursor}), 422)


async def test_our_own_cursor_comes_back(client: httpx.AsyncClient) -> None:
    """The last value may contain spaces."""
    cursor = encoded("3 0.5 2026-03-01T09:00:00+00:00 a b")
    answer = await client.get("/v1/things", params={"cursor": cursor})
    assert answer.json() == [3, 0.5, "2026-03-01T09:00:00Z", "a b"]


@given(st.binary(max_size=60) | st.text(max_size=30).map(lambda t: t.encode("utf-8", "replace")))
def test_any_cursor_is_read_or_invalid(data: bytes) -> None:
    """Decoding returns its values or raises Invalid, and nothing else."""
    cursor = encoded(data.decode("latin-1")) or ""
    for kinds in ((), (whole,), (number,), (time,), (serial, number)):
        for text in (cursor, data.decode("latin-1")):
            try:
                found = of_cursor(text, *kinds)
            except Invalid as wrong:
                assert wrong.field == "cursor"
            else:
                assert len(found) == len(kinds) + 1


@given(
    st.datetimes(timezones=st.timezones() | st.just(UTC))
    | st.sampled_from([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
)
def test_any_time_becomes_utc_or_an_error(at: datetime) -> None:
    """The result is in UTC within the calendar, or an error that names the field."""
    try:
        given = Given(at=at)
    except ValueError as wrong:
        assert "at" in str(wrong)
    else:
        assert given.at is not None
        assert EARLIEST <= given.at <= LATEST
        assert given.at.utcoffset() == UTC.utcoffset(None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON, st.booleans())
def test_any_json_that_passes_can_be_stored(document: Any, ascii_only: bool) -> None:
    """What passes can be stored whole; everything else raises Invalid."""
    body = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        look_at(body)
    except Invalid as wrong:
        assert wrong.field
        return
    kept = json.dumps(json.loads(body), allow_nan=False, ensure_ascii=False)
    assert "\\u0000" not in kept.replace("\\\\", "")
    kept.encode()


@given(st.binary(max_size=200))
def test_any_bytes_raise_only_errors_for_a_caller(body: bytes) -> None:
    """Only errors meant for a caller are raised."""
    try:
        look_at(body)
    except (Invalid, TooDeep):
        return
    json.loads(body)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("levels", [DEPTH_MAX + 1, 1_000, 300_000])
async def test_deep_nesting_is_refused(
    client: httpx.AsyncClient, opening: bytes, levels: int
) -> None:
    """The answer is 413, whether or not a parser can handle it."""
    closing = b"]" if opening == b"[" else b"}"
    body = (opening * levels + b"1" + closing * levels)[: 1024 * 1024]
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/v1/things/7", content=body, headers=headers)
    assert answer.status_code in ({413} if len(body) < 1024 * 1024 else {413, 422})


def test_nesting_at_its_bound() -> None:
    """This depth is accepted."""
    look_at(b"[" * DEPTH_MAX + b"]" * DEPTH_MAX)
    with pytest.raises(TooDeep):
        look_at(b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1))
