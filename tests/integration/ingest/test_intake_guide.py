"""Every section of `docs/intake.md` leads to its accepted event, with the real clients."""

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.local import apache_kafka
from deploy.local.stack import KAFKA_CACHE, ROOT
from services.ingest.core.http_sources import SETTING
from shared.contracts import events as types
from shared.contracts.activity import DECODER
from tests.consumers import running
from tests.fakes.crm.serving import serving
from tests.fakes.schema_registry import FakeRegistry
from tests.integration.ingest.running import ServiceEnvironment, eventually, ingest
from tests.tutorial import pages
from tests.tutorial.reader import Reader, copied

pytestmark = pytest.mark.stack

GUIDE = (ROOT / "docs/intake.md").read_text("utf-8")
HEADING = re.compile(r"^#{2,3} (.+)\n", re.MULTILINE)
EVENTS: Mapping[str, frozenset[str]] = {
    "kcat": frozenset({"kcat-1", "kcat-2"}),
    "Python, aiokafka": frozenset({"aiokafka-1"}),
    "Python, confluent-kafka": frozenset({"confluent-1"}),
    "Node, kafkajs": frozenset({"kafkajs-1"}),
    "Java, kafka-console-producer": frozenset({"console-1"}),
    "Kafka, your own records": frozenset({"receipt-17"}),
    "Schema registry": frozenset({"avro-1"}),
    "Plain HTTP": frozenset({"curl-1"}),
    "Segment": frozenset({"order-segment-1"}),
    "RudderStack": frozenset({"order-rudder-1"}),
    "Shopify": frozenset({"order-5551001"}),
    "WooCommerce": frozenset({"order-727"}),
    "Stripe": frozenset({"invoice-in_1"}),
    "GA4": frozenset({"order-T-1"}),
    "Debezium": frozenset({"order-501"}),
    "Files": frozenset({"F-1", "F-2"}),
    "A loyalty programme": frozenset({"loyalty-1"}),
}
"""The ids of what each section makes."""
REGISTRY = "EBBWATCH_INGEST_REGISTRY_URL"
PROGRAMS = ("kcat", "node", "curl", "openssl")
TOOLS = {
    "kafka-console-producer.sh": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
}
"""Of Apache Kafka's download, made here of the broker's own jars."""


def sections() -> dict[str, str]:
    """Return the text below each heading up to the next, by heading."""
    _, *parts = HEADING.split(GUIDE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_each_section_has_an_event_and_is_in_the_index() -> None:
    """The index leads to every section with commands, and each of them makes an event."""
    index = GUIDE.partition("\n## ")[0]
    linked = set(re.findall(r"\]\(#([\w-]+)\)", index))
    executed = {name for name, text in sections().items() if "```bash" in text}
    assert executed == set(EVENTS)
    assert {_anchor(name) for name in executed} <= linked
    assert linked <= {_anchor(name) for name in sections()}


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.usefixtures("apache_kafka")
@pytest.mark.timeout(400)  # seconds: several clients start one after the other, two of them in Java
async def test_each_section_leads_to_its_event(
    place: ServiceEnvironment, public_folder: Path
) -> None:
    """What the page shows is done, and arrives: all of it, and nothing else."""
    root = _prepared(public_folder)
    (sources,) = [each for each in _blocks(place, GUIDE) if each.kind == "json"]
    absent: set[str] = set()
    expected: set[str] = set()
    registry = FakeRegistry()
    async with (
        serving(registry),
        ingest(place, {SETTING: sources.text, REGISTRY: registry.url}) as service,
    ):
        token = await place.command("tokens", "create", "--name", "t", "--scope", "events:write")
        named = {"URL": service.url, "TOKEN": token.strip(), REGISTRY: registry.url}
        given = place.environment() | named
        for name, ids in EVENTS.items():
            blocks = _blocks(place, sections()[name])
            if missing := _missing(blocks):
                absent |= missing
                continue
            path = _path(blocks, public_folder)
            with Reader(root, given | {"PATH": path}) as reader:
                await asyncio.to_thread(reader.do, blocks)
            expected |= ids
            await _arrived(place, expected)
        if not absent:
            assert await _ids(place) == sorted(expected)
            refused = await place.read(place.dead_letter, 1)
            assert [json.loads(record.value or b"")["receipt"] for record in refused] == [18]
    if absent:
        running.missing(", ".join(sorted(absent)))


def _prepared(folder: Path) -> Path:
    """Copy the working copy, with Node's packages and Apache Kafka's tools; return the copy."""
    root = copied(folder)
    (root / "node_modules").symlink_to(running.HERE / "node_modules")
    (folder / "bin").mkdir()
    for name, main in TOOLS.items():
        tool = folder / "bin" / name
        jars = apache_kafka.jars(KAFKA_CACHE).absolute()
        tool.write_text(f'#!/bin/sh\nexec "{apache_kafka.java()}" -cp "{jars}/*" {main} "$@"\n')
        tool.chmod(0o755)
    return root


def _blocks(place: ServiceEnvironment, text: str) -> list[pages.Block]:
    """Return what is to be done, on the topics of this test."""
    return pages.blocks(text.replace("ebbwatch.raw", place.raw))


def _path(blocks: list[pages.Block], folder: Path) -> str:
    """Return where programs are found: `python` is that of the client's own environment."""
    python = running.PYTHON.parent if _confluent(blocks) else Path(sys.prefix) / "bin"
    return os.pathsep.join([str(python), str(folder / "bin"), os.environ["PATH"]])


def _confluent(blocks: list[pages.Block]) -> bool:
    """Return whether a program imports Confluent's library, which is not in our environment."""
    return any(
        "import confluent_kafka" in b.text or "from confluent_kafka" in b.text for b in blocks
    )


def _missing(blocks: list[pages.Block]) -> set[str]:
    """Return how to get what these blocks need and is not here."""
    commands = "\n".join(block.text for block in blocks if block.kind == "bash")
    absent = {
        f"install {program}"
        for program in PROGRAMS
        if re.search(rf"\b{program} ", commands) and shutil.which(program) is None
    }
    if "node " in commands and not (running.HERE / "node_modules").exists():
        absent.add("install npm, and make consumers")
    if _confluent(blocks) and not running.PYTHON.exists():
        absent.add("make consumers")
    return absent


async def _ids(place: ServiceEnvironment) -> list[str]:
    """Return the ids of all accepted events; markers of an import's end are none."""
    found = [DECODER.decode(r.value or b"") for r in await place.read(place.activity, 0)]
    return sorted(event.id for event in found if event.type != types.BACKFILL_ENDED)


async def _arrived(place: ServiceEnvironment, expected: set[str]) -> None:
    async def there() -> bool:
        return expected <= set(await _ids(place))

    await eventually(there)
