"""Commands `dead-letters list|show|replay|discard`: records that were refused, and why."""

import argparse
import getpass
import sys
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.core.shown import HEADERS_SHOWN, headers_shown, line, printable
from services.ingest.handlers.discard_dead_letters import DiscardDeadLetters
from services.ingest.handlers.replay_dead_letters import ReplayDeadLetters
from services.ingest.handlers.settle_dead_letters import SETTLED_MAX, Choice, Settled
from services.ingest.ports import Group, ListedDeadLetter, Search, State
from services.ingest.settings import IngestSettings
from services.ingest.store.dead_letters import DeadLetters
from shared.kafka.producer import Producer
from shared.kafka.settings import KafkaSettings
from shared.runtime.arguments import count, instant, number, serial
from shared.runtime.clock import SystemClock
from shared.runtime.command_line import Action, Command

LISTED: Final = 50
"""Faults or dead letters shown unless another number is asked for: a screen."""
WAIT_S: Final = 3.0
"""How long a replay waits for what is refused again: three times what a small one needs."""
WAIT_S_MAX: Final = 600.0
IDS_SHOWN: Final = 20
DONE, FAILED, REFUSED = 0, 1, 3
"""Exit status: all was done, failed, something was left as it is or refused again."""

NONE_MATCHES: Final = "no dead letter matches"


def add(commands: Any, command: Callable[[Action], Command]) -> None:
    """Add the parsers; `command` makes commands of actions on the database."""
    letters = commands.add_parser("dead-letters", help="records that were refused, and why")
    actions = letters.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser(
        "list", help="what is wrong, how often, and one example; --each: every one, oldest first"
    )
    _add_search(listing)
    state = listing.add_mutually_exclusive_group()
    state.add_argument("--state", choices=("waiting", "replayed", "discarded"), default="waiting")
    state.add_argument("--any-state", dest="state", action="store_const", const=None)
    listing.add_argument("--each", action="store_true", help="one line for each dead letter")
    listing.add_argument("--after", type=serial, default=0, help="with --each: after this number")
    listing.add_argument("--limit", type=count, default=LISTED)
    listing.set_defaults(command=command(_list))

    show = actions.add_parser("show", help="one of them in full")
    show.add_argument("id", type=serial, help="as `dead-letters list` shows it")
    show.set_defaults(command=command(_show))

    replay = actions.add_parser(
        "replay",
        help="send them back to where they came from, once the cause is mended",
        description="Sends the original bytes to the original topic (to the raw topic, if they "
        "came over HTTP), and waits for what is refused again. Exit status: 0 all were sent and "
        "none was refused, 3 some were not sent or were refused again, 1 failed.",
    )
    _add_choice(replay)
    replay.add_argument(
        "--again", action="store_true", help="also those replayed or discarded before, by number"
    )
    replay.add_argument(
        "--wait", type=number, default=WAIT_S, help="seconds to wait for refusals (default: 3)"
    )
    replay.set_defaults(command=command(_replay))

    discard = actions.add_parser(
        "discard", help="never replay them; the fact stays, the content is deleted after some days"
    )
    _add_choice(discard)
    discard.set_defaults(command=command(_discard))


def _add_search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stage", help="refused by this service: ingest, scoring or alerts")
    parser.add_argument("--field", help="for a fault in this field, such as data.currency")
    parser.add_argument("--reason", help="with this text in the reason")
    parser.add_argument("--source", help="by this topic, this route or with this event's `source`")
    parser.add_argument("--since", type=instant, help="refused at this time or later")
    parser.add_argument("--until", type=instant, help="refused before this time")


def _add_choice(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("id", type=serial, nargs="*", default=[])
    which.add_argument("--all", action="store_true", help="all that wait and match the filters")
    _add_search(parser)
    parser.add_argument(
        "--limit",
        type=count,
        default=SETTLED_MAX,
        help=f"at most so many (default and maximum: {SETTLED_MAX:,})",
    )
    parser.add_argument("--why", help="kept with them")


def _search(args: argparse.Namespace) -> Search:
    state: State | None = getattr(args, "state", "waiting")
    return Search(args.stage, args.field, args.reason, args.source, args.since, args.until, state)


def _choice(args: argparse.Namespace) -> Choice:
    limit = min(args.limit, SETTLED_MAX)
    if args.all:
        return Choice(search=_search(args), limit=limit)
    return Choice(ids=tuple(args.id), limit=limit, again=getattr(args, "again", False))


async def _list(args: argparse.Namespace, engine: AsyncEngine) -> int:
    index, search = DeadLetters(engine), _search(args)
    if args.each:
        found = await index.search(search, args.limit, args.after)
        for facts in found:
            print(_line(facts))
        if not found:
            print(NONE_MATCHES)
        elif await index.search(search, 1, found[-1].id):
            print(f"there are more: --after {found[-1].id}")
        return DONE
    groups = await index.groups(search, args.limit)
    if not groups:
        print(NONE_MATCHES)
        return DONE
    print(f"{'count':>8}  {'newest':<20}  {'example':>8}  fault")
    for group in groups:
        print(_group(group))
    print("one in full: `dead-letters show EXAMPLE`; all of a fault: `dead-letters list --each`")
    return DONE


async def _show(args: argparse.Namespace, engine: AsyncEngine) -> int:
    index = DeadLetters(engine)
    stored = await index.get(args.id)
    if stored is None:
        print(f"no dead letter {args.id}; see `dead-letters list --each`", file=sys.stderr)
        return FAILED
    letter = stored.letter
    print(_line(stored.facts))
    if stored.facts.producer is not None:
        print(f"source  {line(stored.facts.producer)}")
    if (again := (await index.refused_again([args.id])).get(args.id)) is not None:
        print(f"again   its replay was refused as {again}")
    if stored.facts.settled_why is not None:
        print(f"why     {line(stored.facts.settled_why)}")
    if stored.facts.dropped_at is not None:
        print(f"its content was deleted {stored.facts.dropped_at:%Y-%m-%d}")
        return DONE
    print(f"key     {_text(letter.key)}")
    for name, value in headers_shown(letter.original_headers):
        print(f"header  {name!r}: {'(none)' if value is None else value}")
    if (more := len(letter.original_headers) - HEADERS_SHOWN) > 0:
        print(f"        and {more:,} more headers")
    print(f"value   {_text(letter.value)}")
    return DONE


async def _replay(args: argparse.Namespace, engine: AsyncEngine) -> int:
    outlet = Producer(KafkaSettings(), "ingest-cli")
    raw_topic = IngestSettings().raw_topics[0]
    replay = ReplayDeadLetters(DeadLetters(engine), outlet, SystemClock(), raw_topic)
    try:
        done = await replay(_choice(args), getpass.getuser(), args.why)
    finally:
        await outlet.close()
    print(f"replayed {done.count:,}{_where(done)}")
    _print_rest(done)
    again = await replay.refused_again(done.ids, min(args.wait, WAIT_S_MAX))
    if again:
        shown = ", ".join(f"{old} as {new}" for old, new in sorted(again.items())[:IDS_SHOWN])
        print(f"refused again {len(again):,}: {shown}{'' if len(again) <= IDS_SHOWN else ', …'}")
    return REFUSED if again or done.untouched_count else DONE


async def _discard(args: argparse.Namespace, engine: AsyncEngine) -> int:
    discard = DiscardDeadLetters(DeadLetters(engine), SystemClock())
    done = await discard(_choice(args), getpass.getuser(), args.why)
    print(f"discarded {done.count:,}")
    _print_rest(done)
    return REFUSED if done.untouched_count else DONE


def _print_rest(done: Settled) -> None:
    for one in done.untouched[:IDS_SHOWN]:
        print(f"left {one.id}: {line(one.reason)}", file=sys.stderr)
    if (more := done.untouched_count - IDS_SHOWN) > 0:
        print(f"left {more:,} more", file=sys.stderr)
    if done.more:
        print("there are more that match: repeat the command")


def _where(done: Settled) -> str:
    places = [f"{number:,} to {line(topic)}" for topic, number in sorted(done.topics.items())]
    return f": {', '.join(places)}" if places else ""


def _group(group: Group) -> str:
    again = f" ({group.again:,} refused again)" if group.again else ""
    fault = f"{line(group.field)}: {line(group.reason)}"
    stage = "" if group.stage == "ingest" else f"{line(group.stage)}  "
    numbers = f"{group.count:>8,}  {group.last_at:%F %H:%M:%S}Z  {group.example:>8}"
    return f"{numbers}  {stage}{fault}{again}"


def _line(facts: ListedDeadLetter) -> str:
    state: str = facts.state
    if facts.settled_at is not None:
        by = f" by {line(facts.settled_by)}" if facts.settled_by else ""
        state = f"{facts.state} {facts.settled_at:%F %H:%M}Z{by}"
    again = "" if facts.replay_of is None else f", a replay of {facts.replay_of}"
    return (
        f"{facts.id:>6}  {facts.recorded_at:%F %H:%M:%S}Z  {line(str(facts.origin))}  "
        f"{line(facts.stage)}  {line(facts.field)}: {line(facts.reason)}  ({state}{again})"
    )


def _text(content: bytes | None) -> str:
    return printable(content) or ("(none)" if content is None else "(empty)")
