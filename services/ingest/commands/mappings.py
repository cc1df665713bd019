"""Commands `mappings list|show|put` and `try`: how a source's own records become events."""

import argparse
import getpass
import json
import sys
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.core.bodies import RAW_ARRAY
from services.ingest.core.faults import decoded
from services.ingest.core.mapping.apply import Context, Mapped, map_value
from services.ingest.core.mapping.document import CompiledMapping, Mistakes
from services.ingest.inbound.mapping_files import read_mapping, shipped
from services.ingest.inbound.raw_consumer import RawConsumer
from services.ingest.main import read_rates
from services.ingest.ports import StoredMapping
from services.ingest.settings import IngestSettings
from services.ingest.store.mappings import Mappings
from shared.contracts.activity import ENCODER, Activity
from shared.kafka.settings import KafkaSettings
from shared.kernel.errors import UNREADABLE, Invalid, Transient
from shared.runtime.arguments import count
from shared.runtime.clock import SystemClock
from shared.runtime.command_line import Action, Command

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of a file that is one JSON document; files with a record in each line have no limit."""
VERSIONS_SHOWN: Final = 50
DONE, FAILED, REFUSED = 0, 1, 3
"""Exit status: every record is acceptable, failed, some records are refused."""


def add(commands: Any, command: Callable[[Action], Command]) -> None:
    """Add the parsers; `command` makes commands of actions on the database."""
    trial = commands.add_parser(
        "try",
        help="what the records of a file become by a mapping; sends nothing",
        description="Shows what each record becomes, or why it does not. Exit status: 0 all are "
        "acceptable, 3 some are refused, 1 failed.",
    )
    trial.add_argument("--mapping", required=True, help="a file, or the name of a shipped one")
    trial.add_argument("--json", action="store_true", help="one JSON object for each record")
    trial.add_argument("file", nargs="+", help="JSON, a JSON array or NDJSON; - is standard input")
    trial.set_defaults(command=_try)

    parser = commands.add_parser("mappings", help="how sources' own records become events")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="those in force, and those that are shipped")
    listing.set_defaults(command=command(_list))
    show = actions.add_parser("show", help="a document: the one in force, or a shipped one")
    show.add_argument("name")
    show.add_argument("--version", type=count, help="an earlier one; otherwise the newest")
    show.set_defaults(command=command(_show))
    put = actions.add_parser("put", help="put a new version in force, within seconds")
    put.add_argument("mapping", help="a YAML file, or the name of a shipped one")
    put.add_argument(
        "--topic", action="append", help="raw topic that it is for, instead of its `topics`"
    )
    put.add_argument(
        "--http", action="append", help="HTTP source that it is for, instead of its `http`"
    )
    put.add_argument("--note", help="why")
    put.set_defaults(command=command(_put))


async def _list(_: argparse.Namespace, engine: AsyncEngine) -> int:
    stored = await Mappings(engine).current()
    for each in stored:
        print(_line(each))
    if not stored:
        print("no mapping is in force: `mappings put NAME --topic TOPIC`")
    print("shipped:")
    for name in shipped():
        print(f"  {name:<12}  {read_mapping(name)[1].description}")
    return DONE


async def _show(args: argparse.Namespace, engine: AsyncEngine) -> int:
    found = await Mappings(engine).versions(args.name, VERSIONS_SHOWN)
    chosen = [each for each in found if args.version in (None, each.version)]
    if chosen:
        for each in found:
            print(f"# {_line(each)}")
        print(chosen[0].document, end="")
        return DONE
    if args.version is None and args.name in shipped():
        print(read_mapping(args.name)[0], end="")
        return DONE
    print(f"no mapping {args.name!r} in this version; see `mappings list`", file=sys.stderr)
    return FAILED


def _line(stored: StoredMapping) -> str:
    topics = ", ".join(stored.topics) or "none"
    sources = f"  http: {', '.join(stored.http_sources)}" if stored.http_sources else ""
    note = f"  {stored.note}" if stored.note else ""
    return (
        f"{stored.name}  version {stored.version}  {stored.created_at:%F %H:%M}Z  {stored.actor}  "
        f"topics: {topics}{sources}{note}"
    )


async def _put(args: argparse.Namespace, engine: AsyncEngine) -> int:
    read = _compiled(args.mapping)
    if read is None:
        return FAILED
    text, mapping = read
    topics = mapping.topics if args.topic is None else tuple(args.topic)
    sources = mapping.http if args.http is None else tuple(args.http)
    settings = IngestSettings()
    own = (settings.raw_topics[0], settings.activity_topic, settings.dead_letter_topic)
    for topic in topics:
        if topic in own:
            why = "is for Ebbwatch's own messages: send this source's records to another topic"
            raise Invalid(topic, why)
    former = await Mappings(engine).versions(mapping.name, 1)
    version = await Mappings(engine).put(
        mapping.name, text, topics, sources, getpass.getuser(), SystemClock().now(), args.note
    )
    print(f"{mapping.name}, version {version}, is in force within seconds")
    if not topics and not sources:
        print("it is for no topic and no HTTP source: add --topic or --http")
    for topic in topics:
        print(f"records of the topic {topic} are read by it")
    async for warning in _absent(topics):
        print(warning, file=sys.stderr)
    for place in _left(former, topics, sources):
        print(f"{place} is no longer read by it: to keep it, name it too")
    return DONE


async def _absent(topics: Sequence[str]) -> AsyncIterator[str]:
    """Yields a warning for each topic that the broker does not have, or that it cannot be asked."""
    broker = RawConsumer(KafkaSettings(), (), "ingest-mappings", 1)
    try:
        missing = await broker.missing(topics)
    except Transient as trouble:
        yield f"warning: whether the topics exist is unknown: {trouble}"
        return
    for topic in sorted(missing):
        yield (
            f"warning: there is no topic {topic} yet: create it, or correct its name; it is read "
            "from then on"
        )


def _left(
    former: Sequence[StoredMapping], topics: Sequence[str], sources: Sequence[str]
) -> Iterator[str]:
    """Yields what the former version was for and the new one is not."""
    for each in former:
        yield from (f"the topic {topic}" for topic in each.topics if topic not in topics)
        yield from (f"the source {name}" for name in each.http_sources if name not in sources)


def _compiled(given: str) -> tuple[str, CompiledMapping] | None:
    """Reads a mapping; prints every mistake and returns None where it has some."""
    try:
        return read_mapping(given)
    except Mistakes as mistakes:
        for each in mistakes.all:
            print(f"{each.field}: {each.reason}", file=sys.stderr)
        return None


async def _try(args: argparse.Namespace) -> int:
    read = _compiled(args.mapping)
    if read is None:
        return FAILED
    _, mapping = read
    rates = read_rates(IngestSettings())
    context = Context(int(SystemClock().now().timestamp() * 1000), rates)
    counts: Counter[str] = Counter()
    for name in args.file:
        if not args.json:
            print(name)
        for index, value in enumerate(_records(name), start=1):
            mapped = map_value(mapping, value, context)
            _count(counts, mapped)
            print(_as_json(name, index, mapped) if args.json else _as_text(index, mapped))
    if not args.json:
        print(_summary(counts))
    return REFUSED if counts["refused"] else DONE


def _records(name: str) -> Iterator[bytes]:
    """Yields the records of a file: its lines where the first one is JSON, else the elements of an
    array or the whole."""
    if name == "-":
        yield from _split(sys.stdin.buffer.read(FILE_BYTES_MAX + 1), name)
        return
    path = Path(name)
    if not path.exists():
        raise Invalid("file", f"there is no file {name}")
    with path.open("rb") as file:
        first = file.readline(FILE_BYTES_MAX).removeprefix(BOM_UTF8)
        if _is_object(first):
            yield first.strip()
            yield from (record for line in file if (record := line.strip()))
            return
        yield from _split(first + file.read(FILE_BYTES_MAX + 1 - len(first)), name)


def _split(content: bytes, name: str) -> Iterator[bytes]:
    if len(content) > FILE_BYTES_MAX:
        raise Invalid(name, f"more than {FILE_BYTES_MAX >> 20} MiB: write one record in each line")
    if content.lstrip().startswith(b"["):
        records = decoded(RAW_ARRAY, content, name, "a JSON array")
        yield from map(bytes, records)
        return
    lines = content.splitlines()
    several = len(lines) > 1 and _is_object(lines[0])
    yield from (line for line in lines if line.strip()) if several else (content,)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(line), dict)
    except UNREADABLE:
        return False


def _count(counts: Counter[str], mapped: Mapped) -> None:
    counts["records"] += 1
    counts["ignored"] += mapped.ignored is not None
    counts["refused"] += bool(mapped.refusals)
    for event, _ in mapped.events:
        counts[event.type] += 1


def _as_json(name: str, index: int, mapped: Mapped) -> str:
    found: dict[str, Any] = {"file": name, "record": index}
    if mapped.events:
        found["events"] = [json.loads(ENCODER.encode(event)) for event, _ in mapped.events]
    if notes := [note for event in mapped.events for note in event.notes]:
        found["noted"] = [{"field": note.field, "reason": note.reason} for note in notes]
    if mapped.refusals:
        found["refused"] = [{"field": x.field, "reason": x.reason} for x in mapped.refusals]
    if mapped.ignored is not None:
        found["ignored"] = mapped.ignored
    return json.dumps(found, ensure_ascii=False)


def _as_text(index: int, mapped: Mapped) -> str:
    lines = []
    for event, notes in mapped.events:
        lines.append(_event_line(event))
        lines += [f"  noted {note.field}: {note.reason}" for note in notes]
    lines += [f"refused  {refusal.field}: {refusal.reason}" for refusal in mapped.refusals]
    if mapped.ignored is not None:
        lines.append(f"ignored  {mapped.ignored}")
    first, *others = lines
    return "\n".join([f"{index:>6}  {first}", *(f"{'':>6}  {line}" for line in others)])


def _event_line(event: Activity) -> str:
    data = event.data
    kind = event.type.removeprefix("io.ebbwatch.")
    parts = [kind, f"customer {event.subject}", f"{event.time:%F %T}Z"]
    if data.original_amount is not None:
        parts.append(f"{data.original_amount} {data.currency}")
    if data.items is not None:
        parts.append(f"{data.items} item{'s' * (data.items != 1)}")
    if data.kind is not None:
        parts.append(data.kind)
    if data.points is not None:
        parts.append(f"{data.points:,.2f}".rstrip("0").rstrip(".") + " points")
    if data.expires_on is not None:
        parts.append(f"until {data.expires_on}")
    if data.profile is not None:
        parts.append(data.profile.name or "")
    if event.backfill is not None:
        parts.append(f"history of {event.backfill}")
    return "  ".join((*parts, f"id {event.id}"))


def _summary(counts: Counter[str]) -> str:
    kinds = [
        f"{count:,} {kind.removeprefix('io.ebbwatch.')}"
        for kind, count in sorted(counts.items())
        if kind.startswith("io.ebbwatch.")
    ]
    return (
        f"{counts['records']:,} record{'s' * (counts['records'] != 1)}: "
        f"{', '.join(kinds) or 'no event'}; "
        f"{counts['refused']:,} refused, {counts['ignored']:,} ignored"
    )
