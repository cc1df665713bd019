"""Command `import`: a company's own files become events (docs/import.md)."""

import argparse
import logging
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from services.ingest.commands.import_links import import_links
from services.ingest.commands.import_progress import ImportProgress, Interrupted
from services.ingest.settings import IngestSettings
from shared.event_files.arguments import add_reading, reading_of
from shared.kafka.producer import Producer
from shared.kafka.settings import KafkaSettings
from shared.kernel.errors import Invalid, Transient
from shared.runtime.clock import SystemClock

if TYPE_CHECKING:
    from services.ingest.core.rates import RateTable
    from services.ingest.handlers.import_files import ImportFiles, Outcome, PreparedFile, Terms
    from services.ingest.outbound.import_notes import ImportNotes
    from shared.event_files.options import ReadOptions

DONE, FAILED, REJECTED, STOPPED = 0, 1, 3, 130
"""Exit status: everything accepted, failed, some rows rejected, interrupted."""
SOURCE: Final = "files"


def add(commands: Any) -> None:
    """Add the parser of `import`."""
    parser = commands.add_parser(
        "import", help="load history from files: CSV, Excel, Parquet, JSON Lines",
        description="Reads files of orders or other events and sends them, as history that raises "
        "no task. Exit status: 0 everything was accepted, 3 some rows were rejected, 1 failed.",
    )  # fmt: skip
    parser.add_argument("path", nargs="+", type=Path, help="files, read in this order")
    add_reading(parser)
    parser.add_argument(
        "--dry-run", action="store_const", const="text",
        help="read everything and show the result; send nothing",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_const", const="json", dest="dry_run",
        help="a dry run with its result as one JSON object",
    )  # fmt: skip
    parser.add_argument(
        "--live", action="store_true",
        help="a regular file of news: its events are judged as if they came now",
    )  # fmt: skip
    parser.add_argument(
        "--links", action="store_true",
        help="files of links between ids: customer_id, other_id (docs/identity.md)",
    )  # fmt: skip
    parser.add_argument("--currency", metavar="CODE", help="of the amounts, as EUR")
    parser.add_argument(
        "--source", default=SOURCE,
        help="the events' CloudEvents source; with their ids it recognises repetitions",
    )  # fmt: skip
    parser.add_argument(
        "--folder", type=Path,
        help="where rejected rows and notes on the import are kept; otherwise beside the file",
    )  # fmt: skip
    parser.set_defaults(command=_import)


async def _import(args: argparse.Namespace) -> int:
    """Run the command in its steps: read, show, send, report."""
    # Reading files takes polars, which the service itself does not load.
    from services.ingest.handlers.import_files import ImportFiles, Terms  # noqa: PLC0415
    from services.ingest.main import read_rates  # noqa: PLC0415
    from services.ingest.outbound.import_notes import ImportNotes, unended  # noqa: PLC0415

    # The client logs each attempt to connect; what a person needs is in our own message.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    clock, settings, kafka = SystemClock(), IngestSettings(), KafkaSettings()
    rates = read_rates(settings)
    if args.links:
        return await _links(args, settings.raw_topics[0], kafka)
    options = reading_of(args, clock.now())
    folder: Path = args.folder or args.path[0].parent
    outlet = Producer(kafka, "ingest-import")
    progress = ImportProgress(clock)
    notes: ImportNotes | None = None
    left = [] if args.dry_run else unended(args.path[0], folder)
    try:
        with progress.shown():
            if not args.dry_run:
                await outlet.partitions(settings.raw_topics[0])
            files = [_prepared(path, options, progress) for path in args.path]
            progress.clear()
            currency = _currency(args.currency, files, rates)
            if args.dry_run != "json":
                print(*_how_read(files), f"amounts without a currency are in {currency}", sep="\n")
            terms = Terms(settings.raw_topics[0], args.source, currency, live=args.live)
            progress.expect(sum(prepared.file.rows for prepared in files))
            handler = ImportFiles(outlet, terms, rates, clock)
            if args.dry_run:
                return _dry(handler, files, progress, for_machines=args.dry_run == "json")
            notes = ImportNotes(args.path, _key(options, terms), folder)
            if notes.acknowledged:
                print(f"goes on after {notes.acknowledged:,} events of an interrupted run")
            outcome = await handler.run(files, notes, partial(progress.reached, "sending"))
        args.currency = currency  # a few corrected rows may not show it again
        status = _finished(args, files, outcome, notes.name, folder)
        notes.finish()
    except Interrupted:
        print(f"interrupted; {_resumed(notes, left)}", file=sys.stderr)
        return STOPPED
    except Invalid:
        if left and notes is None:
            print(_resumed(notes, left), file=sys.stderr)
        raise
    except Transient as trouble:
        print(
            f"the broker at {kafka.bootstrap_servers} (KAFKA_BOOTSTRAP_SERVERS) cannot be used: "
            f"{trouble}; {_resumed(notes, left)}", file=sys.stderr,
        )  # fmt: skip
        return FAILED
    else:
        return status
    finally:
        if notes is not None:
            notes.close()
        await outlet.close()


async def _links(args: argparse.Namespace, topic: str, kafka: KafkaSettings) -> int:
    """Send files of links."""
    clock, outlet = SystemClock(), None
    if not args.dry_run:
        outlet = Producer(kafka, "ingest-import")
    try:
        rejected = await import_links(args.path, args.source, topic, outlet, clock)
    except Transient as trouble:
        print(f"the broker at {kafka.bootstrap_servers} cannot be used: {trouble}", file=sys.stderr)
        return FAILED
    finally:
        if outlet is not None:
            await outlet.close()
    return REJECTED if rejected else DONE


def _prepared(path: Path, options: "ReadOptions", progress: ImportProgress) -> "PreparedFile":
    from services.ingest.handlers.import_files import PreparedFile, naming  # noqa: PLC0415
    from shared.event_files.faults import Rejects  # noqa: PLC0415
    from shared.event_files.reader import EventFile  # noqa: PLC0415

    rejects = Rejects(path.name)

    def watch(rows: int) -> None:
        progress.reached(f"reading {path.name}", rows)

    with naming(path.name):
        return PreparedFile(EventFile(path, options, rejects=rejects, watch=watch), rejects)


def _currency(given: str | None, files: "list[PreparedFile]", rates: "RateTable") -> str:
    """Return the currency of amounts without one; without any mark the reporting currency.

    Raises Invalid where the files' marks are not of one currency, or where it has no rate.
    """
    from services.ingest.core.file_events import has_rate  # noqa: PLC0415
    from shared.event_files.amounts import ISO  # noqa: PLC0415

    marks = {mark for prepared in files if (mark := prepared.file.read().currency) is not None}
    codes = {ISO.get(mark) for mark in marks}
    if given is None and (None in codes or len(codes) > 1):
        raise Invalid(
            "--currency", f"the amounts have {', '.join(sorted(marks))}: say which currency it is, "
            "as --currency SEK, and import files of different currencies apart"
        )  # fmt: skip
    code = given or next(filter(None, codes), rates.reporting)
    if not has_rate(code, rates, SystemClock().now()):
        raise Invalid(
            "--currency", f"amounts are in {code}, figures in {rates.reporting}: set "
            f"EBBWATCH_REPORTING_CURRENCY={code} for this command and all services, or add rates "
            f"of {code} to the file that EBBWATCH_INGEST_RATES_FILE names"
        )  # fmt: skip
    return code


def _how_read(files: "list[PreparedFile]") -> Iterator[str]:
    for prepared in files:
        yield from prepared.file.read().lines()


def _dry(
    handler: "ImportFiles",
    files: "list[PreparedFile]",
    progress: ImportProgress,
    *,
    for_machines: bool,
) -> int:
    """Print what would be sent, and the rejected rows; nothing is sent."""
    from services.ingest.commands.import_trial import as_json, as_text, tried  # noqa: PLC0415

    outcome, first = tried(handler, files)
    progress.clear()
    print(*(as_json if for_machines else as_text)(files, outcome, first), sep="\n")
    return REJECTED if any(prepared.rejects.reasons for prepared in files) else DONE


def _finished(
    args: argparse.Namespace,
    files: "list[PreparedFile]",
    outcome: "Outcome",
    name: str,
    folder: Path,
) -> int:
    """Write the rejected rows, and print what was done and what to do next."""
    from services.ingest.commands.import_trial import counted  # noqa: PLC0415
    from services.ingest.outbound.rejects_file import write_rejects  # noqa: PLC0415

    for line in counted(files):
        print(line)
    how = "live" if args.live else f"import {name}, ended"
    print(f"sent {outcome.sent:,} of {outcome.events:,} events of {len(outcome.customers):,} "
          f"customers ({how})")  # fmt: skip
    rejected = [prepared for prepared in files if prepared.rejects.reasons]
    for prepared in rejected:
        path = write_rejects(prepared.file, prepared.rejects, folder)
        command = shlex.join(_again(args, prepared, path))
        print(f"rejected rows: {len(prepared.rejects.reasons):,}; correct them in {path}, then "
              f"run\n  {command}")  # fmt: skip
    print("next: once scoring has read them, GET /v1/customers lists the customers; "
          "`python -m services.scoring train` fits a model to the history")  # fmt: skip
    return REJECTED if rejected else DONE


def _again(args: argparse.Namespace, prepared: "PreparedFile", path: Path) -> Iterator[str]:
    """Yield the command that imports corrected rows as the file was read.

    A few rows do not show again what the whole file decided.
    """
    read = prepared.file.read()
    yield from ("python", "-m", "services.ingest", "import")
    for role, header in read.columns.items():
        yield from ("--column", f"{role}={header}")
    if read.date_order is not None:
        yield f"--{read.date_order}-first"
    if read.decimal is not None:
        yield from ("--decimal", read.decimal)
    if read.zone is not None:
        yield from ("--time-zone", read.zone)
    if args.lines_of_one_order:
        yield "--lines-of-one-order"
    if args.currency is not None:
        yield from ("--currency", args.currency)
    if args.source != SOURCE:
        yield from ("--source", args.source)
    if args.live:
        yield "--live"
    yield str(path)


def _key(options: "ReadOptions", terms: "Terms") -> str:
    """Return what the order and the content of the events depend on, besides the files."""
    return repr((replace(options, now=None), terms))


def _resumed(notes: "ImportNotes | None", left: list[str]) -> str:
    """Return what to do after an import that did not come to its end.

    `left`: imports of earlier runs without an end marker, where this run has not come to its notes.
    """
    if notes is None:
        text = "nothing was sent"
    else:
        text = f"{notes.acknowledged:,} events were sent: the same command goes on behind them"
        left = notes.begun()
    for name in left:
        text += (
            f". The end marker of {name} was not sent: until then scoring's sweep pauses; run the "
            f"command again, or `python -m services.scoring imports end {name}`"
        )
    return text
