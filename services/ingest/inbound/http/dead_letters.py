"""HTTP routes of dead letters: what is wrong, one of them in full, replay and discard.

Contents are events of customers: reading needs the scope `dead-letters:read`, replaying and
discarding `dead-letters:write`; `data:write` admits to both.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Path, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool
from starlette.convertors import Convertor, register_url_convertor

from services.ingest.core.shown import headers_shown, printable
from services.ingest.handlers.discard_dead_letters import DiscardDeadLetters
from services.ingest.handlers.replay_dead_letters import ReplayDeadLetters
from services.ingest.handlers.settle_dead_letters import Choice
from services.ingest.ports import (
    DeadLetterIndex,
    Search,
    State,
    StoredDeadLetter,
)
from shared.http.access import Tokens, require
from shared.http.declared import audits
from shared.http.fields import Instant, Number, Whole
from shared.http.paging import Cursor, Limit, decoded, page_of, serial
from shared.kernel.errors import Invalid, Transient

DEAD_LETTERS = "/v1/dead-letters"

SETTLED_MAX = 1_000
"""Dead letters settled by one request: a second or two."""
WAIT_S_MAX = 10.0
"""How long a request may wait for what is refused again, in seconds."""
ID_MAX = 10**18 - 1
WHY_CHARS_MAX = 1_000
TEXT_CHARS_MAX = 300

LetterId = Annotated[int, Path(ge=0, le=ID_MAX)]
Text = Annotated[str | None, Query(min_length=1, max_length=TEXT_CHARS_MAX)]


class LetterNumber(Convertor[str]):
    """The part of a path that is a dead letter's number, so that `/replay` has one route only."""

    regex = "[0-9]{1,18}"

    def convert(self, value: str) -> str:
        """Return the digits."""
        return value

    def to_string(self, value: str) -> str:
        """Return the digits."""
        return value


register_url_convertor("letter_number", LetterNumber())

StateFilter = Literal["waiting", "replayed", "discarded", "any"]


class DeadLetterView(BaseModel):
    """A record that was refused: where it came from, and why."""

    model_config = ConfigDict(from_attributes=True, populate_by_name=True)

    id: int
    origin: Annotated[str, BeforeValidator(str)]
    """Topic or route, partition and offset."""
    source: str | None = Field(validation_alias="producer")
    """The event's `source`, where one can be read."""
    stage: str
    field: str
    reason: str
    state: State
    recorded_at: datetime
    replay_of: int | None
    """The dead letter with a replay that was refused again as this one."""
    settled_at: datetime | None
    settled_by: str | None
    settled_why: str | None
    content_deleted_at: datetime | None = Field(validation_alias="dropped_at")


class ContentView(BaseModel):
    """The first 2,000 bytes of a key or value, printable, and the number of all bytes."""

    text: str | None
    bytes: int


class HeaderView(BaseModel):
    """A header, printable."""

    name: str
    value: str | None


class DeadLetterWithContent(DeadLetterView):
    """A dead letter with its content."""

    arrived_at_ms: int | None
    """Unix ms at which the record first arrived."""
    refused_again_as: int | None
    """The newest dead letter that a replay of this one was refused as."""
    key: ContentView
    value: ContentView
    headers: list[HeaderView]
    """The first 100."""


class DeadLetterPage(BaseModel):
    """Dead letters, oldest first: the order in which they are replayed."""

    items: list[DeadLetterView]
    next: str | None


class GroupView(BaseModel):
    """A fault: how often, since when, and one example."""

    model_config = ConfigDict(from_attributes=True)

    stage: str
    field: str
    reason: str
    """The example's: reasons that differ in quoted values and numbers only are one group."""
    count: int
    again: int
    """How many of them are replays that were refused again."""
    first_at: datetime
    last_at: datetime
    example: int


class Summary(BaseModel):
    """The most frequent faults among the newest 100,000 matches, most frequent first."""

    items: list[GroupView]


class SearchBody(BaseModel):
    """Which dead letters that wait; no field: all."""

    model_config = ConfigDict(extra="forbid")

    stage: str | None = Field(None, min_length=1, max_length=TEXT_CHARS_MAX)
    field: str | None = Field(None, min_length=1, max_length=TEXT_CHARS_MAX)
    reason: str | None = Field(None, min_length=1, max_length=TEXT_CHARS_MAX)
    source: str | None = Field(None, min_length=1, max_length=TEXT_CHARS_MAX)
    since: Instant | None = None
    until: Instant | None = None


class DiscardBody(BaseModel):
    """Which dead letters: `ids` or a `filter`, not both."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Annotated[Whole, Field(ge=0, le=ID_MAX)]] | None = Field(
        None, min_length=1, max_length=SETTLED_MAX
    )
    filter: SearchBody | None = None
    limit: Annotated[Whole, Field(ge=1, le=SETTLED_MAX)] = SETTLED_MAX
    why: str | None = Field(None, min_length=1, max_length=WHY_CHARS_MAX)


class ReplayBody(DiscardBody):
    """Which dead letters, and how long to wait for refusals."""

    again: StrictBool = False
    """With `ids`: also those that were replayed or discarded before."""
    wait_s: Annotated[Number, Field(ge=0, le=WAIT_S_MAX)] = 2.0


class UntouchedView(BaseModel):
    """A dead letter that was left as it is, and why."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    reason: str


class SettledView(BaseModel):
    """What was done."""

    model_config = ConfigDict(from_attributes=True)

    count: int
    ids: list[int]
    untouched: list[UntouchedView]
    """The first 100."""
    untouched_count: int
    more: bool
    """Whether matches are left beyond the limit: repeat the request."""


class ReplayedView(SettledView):
    """What was replayed, and what was refused again within the time waited."""

    topics: dict[str, int]
    refused_again: dict[int, int]
    """By replayed dead letter, the new one."""


def _search(
    stage: Text = None,
    field: Text = None,
    reason: Annotated[Text, Query(description="a part of it")] = None,
    source: Annotated[Text, Query(description="topic, route, or the event's `source`")] = None,
    since: Instant | None = None,
    until: Instant | None = None,
    state: StateFilter = "waiting",
) -> Search:
    return Search(stage, field, reason, source, since, until, None if state == "any" else state)


Searched = Annotated[Search, Depends(_search)]


def add_dead_letters(
    app: FastAPI,
    index: DeadLetterIndex,
    replay: ReplayDeadLetters,
    discard: DiscardDeadLetters,
    tokens: Tokens,
) -> None:
    """Add `/v1/dead-letters`."""
    _add_reading(app, index, [Depends(require(tokens, "dead-letters:read", "data:write"))])
    writer = require(tokens, "dead-letters:write", "data:write")
    one_at_a_time = _OneAtATime()

    @app.post(f"{DEAD_LETTERS}/replay", tags=["dead letters"])
    @audits("kept")
    async def replay_them(body: ReplayBody, by: Annotated[str, Depends(writer)]) -> ReplayedView:
        """Send dead letters back to where they came from; one that was replayed is not again."""
        choice = _choice(body, again=body.again)
        with one_at_a_time:
            done = await replay(choice, by, body.why)
        again = await replay.refused_again(done.ids, body.wait_s)
        settled = SettledView.model_validate(done).model_dump()
        return ReplayedView(**settled, topics=done.topics, refused_again=again)

    @app.post(f"{DEAD_LETTERS}/discard", tags=["dead letters"])
    @audits("kept")
    async def discard_them(body: DiscardBody, by: Annotated[str, Depends(writer)]) -> SettledView:
        """Discard dead letters that wait; the content is deleted after some days."""
        with one_at_a_time:
            done = await discard(_choice(body, again=False), by, body.why)
        return SettledView.model_validate(done)


def _add_reading(app: FastAPI, index: DeadLetterIndex, reads: list[Any]) -> None:
    @app.get(DEAD_LETTERS, dependencies=reads, tags=["dead letters"])
    async def list_dead_letters(
        search: Searched, cursor: Cursor = None, limit: Limit = 50
    ) -> DeadLetterPage:
        """List dead letters without their content, oldest first."""
        after = 0 if cursor is None else serial(decoded(cursor))
        rows = await index.search(search, limit + 1, after)
        found, more = page_of(rows, limit, lambda facts: facts.id)
        items = [DeadLetterView.model_validate(facts) for facts in found]
        return DeadLetterPage(items=items, next=more)

    @app.get(f"{DEAD_LETTERS}/summary", dependencies=reads, tags=["dead letters"])
    async def summarise(search: Searched, limit: Limit = 50) -> Summary:
        """Return what is wrong, how often, and one example."""
        found = await index.groups(search, limit)
        return Summary(items=[GroupView.model_validate(group) for group in found])

    @app.get(DEAD_LETTERS + "/{letter_id:letter_number}", dependencies=reads, tags=["dead letters"])
    async def read_dead_letter(letter_id: LetterId) -> DeadLetterWithContent:
        """Return one dead letter with the beginning of its content."""
        stored = await index.get(letter_id)
        if stored is None:
            raise HTTPException(404, f"no dead letter {letter_id}")
        again = await index.refused_again([letter_id])
        return _with_content(stored, again.get(letter_id))


class _OneAtATime:
    """Keeps two requests of a process from holding pages of large dead letters at once."""

    def __init__(self) -> None:
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise Transient("another replay or discard is under way")
        self._busy = True

    def __exit__(self, *_: object) -> None:
        self._busy = False


def _choice(body: DiscardBody, *, again: bool) -> Choice:
    """Returns what a request means; Invalid unless it is exactly one of numbers and a filter."""
    if (body.ids is None) == (body.filter is None):
        raise Invalid("ids", "send `ids` or `filter`, one of them: `filter` {} is all that wait")
    if body.ids is not None:
        return Choice(ids=tuple(body.ids), limit=body.limit, again=again)
    if again:
        raise Invalid("again", "goes with `ids` only")
    given = body.filter or SearchBody()
    return Choice(search=Search(**given.model_dump()), limit=body.limit)


def _with_content(stored: StoredDeadLetter, again: int | None) -> DeadLetterWithContent:
    letter = stored.letter
    headers = headers_shown(letter.original_headers)
    return DeadLetterWithContent(
        **DeadLetterView.model_validate(stored.facts).model_dump(),
        arrived_at_ms=letter.arrived_ms,
        refused_again_as=again,
        key=ContentView(text=printable(letter.key), bytes=len(letter.key or b"")),
        value=ContentView(text=printable(letter.value), bytes=len(letter.value or b"")),
        headers=[HeaderView(name=name, value=value) for name, value in headers],
    )
