"""Command line of ingest: service, tables, tokens, refused records, mappings and the intake."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.commands import import_files, mappings
from services.ingest.handlers.replay_dead_letters import ReplayDeadLetters
from services.ingest.main import run
from services.ingest.ports import Search, StoredDeadLetter
from services.ingest.settings import IngestSettings
from services.ingest.store.dead_letters import DeadLetters
from services.ingest.store.stops import Stops
from services.ingest.store.tables import SCHEMA, api_token
from shared.kafka.producer import Producer
from shared.kafka.settings import KafkaSettings
from shared.runtime.arguments import count, serial
from shared.runtime.clock import SystemClock
from shared.runtime.command_line import ServiceSpec, main, with_engine

SPEC = ServiceSpec(
    name="ingest",
    schema=SCHEMA,
    versions=Path(__file__).parent / "store" / "versions",
    token_table=api_token,
    run=run,
)
VALUE_CHARS_SHOWN = 2_000


def _add_commands(commands: Any) -> None:
    letters = commands.add_parser("dead-letters", help="records that were refused, and why")
    actions = letters.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="oldest first")
    _add_search(listing)
    listing.add_argument("--replayed", action="store_true", help="also those already replayed")
    listing.add_argument("--limit", type=count, default=50)
    listing.set_defaults(command=_list)
    show = actions.add_parser("show", help="one of them in full")
    show.add_argument("id", type=serial, help="as `dead-letters list` shows it")
    show.set_defaults(command=_show)
    replay = actions.add_parser(
        "replay", help="send them back to where they came from; doing it twice is harmless"
    )
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("id", type=serial, nargs="*", default=[])
    which.add_argument("--all", action="store_true", help="every one that the filters mean")
    _add_search(replay)
    replay.set_defaults(command=_replay)

    mappings.add(commands, partial(with_engine, SPEC))
    import_files.add(commands)

    intake = commands.add_parser("intake", help="the stop that a flood of refusals causes")
    actions = intake.add_subparsers(required=True, metavar="ACTION")
    status = actions.add_parser("status", help="whether it is stopped, and why")
    status.set_defaults(command=_status)
    resume = actions.add_parser("resume", help="go on, after the source was mended")
    resume.set_defaults(command=_resume)


def _add_search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stage", help="refused by this service")
    parser.add_argument("--field", help="for a fault in this field, such as data.currency")


async def _list(args: argparse.Namespace) -> int:
    async def work(engine: AsyncEngine) -> int:
        search = Search(args.stage, args.field, waiting=not args.replayed)
        for stored in await DeadLetters(engine).search(search, args.limit):
            print(_line(stored))
        return 0

    return await with_engine(SPEC, work)


async def _show(args: argparse.Namespace) -> int:
    async def work(engine: AsyncEngine) -> int:
        stored = await DeadLetters(engine).get(args.id)
        if stored is None:
            return _none(args.id)
        print(_line(stored))
        print(f"key     {_text(stored.letter.key)}")
        for name, value in stored.letter.original_headers:
            print(f"header  {name!r}: {_text(value)}")
        print(f"value   {_text(stored.letter.value)}")
        return 0

    return await with_engine(SPEC, work)


async def _replay(args: argparse.Namespace) -> int:
    async def work(engine: AsyncEngine) -> int:
        outlet = Producer(KafkaSettings(), "ingest-cli")
        raw_topic = IngestSettings().raw_topics[0]
        replay = ReplayDeadLetters(DeadLetters(engine), outlet, SystemClock(), raw_topic)
        try:
            if args.all:
                print(f"replayed {await replay.all(Search(args.stage, args.field)):,}")
                return 0
            for letter_id in args.id:
                if not await replay.one(letter_id):
                    return _none(letter_id)
                print(f"replayed {letter_id}")
        finally:
            await outlet.close()
        return 0

    return await with_engine(SPEC, work)


async def _status(_: argparse.Namespace) -> int:
    async def work(engine: AsyncEngine) -> int:
        print(await Stops(engine).reason() or "runs")
        return 0

    return await with_engine(SPEC, work)


async def _resume(_: argparse.Namespace) -> int:
    async def work(engine: AsyncEngine) -> int:
        ended = await Stops(engine).resume(SystemClock().now())
        print("goes on" if ended else "was not stopped")
        return 0

    return await with_engine(SPEC, work)


def _none(letter_id: int) -> int:
    print(f"no dead letter {letter_id}; see `dead-letters list`", file=sys.stderr)
    return 1


def _line(stored: StoredDeadLetter) -> str:
    letter = stored.letter
    state = "waiting" if stored.replayed_at is None else f"replayed {stored.replayed_at:%F %H:%M}Z"
    return (
        f"{stored.id:>6}  {stored.recorded_at:%F %H:%M:%S}Z  {letter.origin}  {letter.stage}  "
        f"{letter.field}: {letter.reason}  ({state})"
    )


def _text(content: bytes | None) -> str:
    """Returns bytes as printable text, cut to a limit: the sender's bytes must not control a
    terminal."""
    if content is None:
        return "(none)"
    shown = content[:VALUE_CHARS_SHOWN].decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in shown)
    more = len(content) - VALUE_CHARS_SHOWN
    return shown if more <= 0 else f"{shown} … ({more:,} more bytes)"


if __name__ == "__main__":
    sys.exit(main(SPEC, _add_commands))
