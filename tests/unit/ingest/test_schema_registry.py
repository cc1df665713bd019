"""The registry's client, against a registry made after the documented API."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from services.ingest.core.framing.schemas import ANSWER_BYTES_MAX, PROTOBUF, Reference
from services.ingest.outbound import schema_registry
from services.ingest.outbound.schema_registry import SchemaRegistry
from shared.kernel.errors import Invalid, Transient
from tests.fakes.certificates import Authority
from tests.fakes.crm.serving import Trouble, serving
from tests.fakes.schema_registry import FakeRegistry
from tests.unit.ingest.framing.samples import EVENT, file, message

PROTO = file(message("A", (("id", "string"),))).SerializeToString()


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    """Provide a registry with one schema of Avro."""
    fake = FakeRegistry()
    fake.register("orders-value", EVENT)
    async with serving(fake):
        yield fake


@pytest.fixture
async def client(fake: FakeRegistry) -> AsyncIterator[SchemaRegistry]:
    """Provide a client of it."""
    client = SchemaRegistry(fake.url + "/")
    yield client
    await client.close()


async def test_a_schema_is_found_by_number_and_guid(
    fake: FakeRegistry, client: SchemaRegistry
) -> None:
    found = await client.schema(1)
    assert (found.type, found.references) == ("AVRO", [])
    assert await client.schema(fake.guid(1)) == found
    assert fake.asked[0].path == "/schemas/ids/1"
    assert "schemaregistry.v1+json" in fake.asked[0].headers["accept"]


async def test_protobuf_is_asked_for_as_a_descriptor(
    fake: FakeRegistry, client: SchemaRegistry
) -> None:
    number = fake.register("a/b value", PROTO, PROTOBUF)
    found = await client.schema(number)
    assert (found.type, found.schema) == (PROTOBUF, fake.schemas[number - 1]["schema"])
    reference = Reference("a.proto", "a/b value", 1)
    assert await client.version(reference, serialized=True) == found
    assert fake.asked[-1].query == {"deleted": "true", "format": "serialized"}


@pytest.mark.parametrize("key", [2, UUID(int=7)])
async def test_an_unknown_schema_is_named(client: SchemaRegistry, key: int | UUID) -> None:
    with pytest.raises(Invalid, match=f"schema {key} is not in the registry"):
        await client.schema(key)


@pytest.mark.parametrize(("subject", "version"), [("missing", 1), ("orders-value", 9)])
async def test_an_unknown_reference_is_named(
    client: SchemaRegistry, subject: str, version: int
) -> None:
    with pytest.raises(Invalid, match=f"'{subject}', version {version} is not"):
        await client.version(Reference("x", subject, version), serialized=False)


@pytest.mark.parametrize("trouble", ["html", "drop"])
async def test_what_no_registry_answers_is_an_outage(
    fake: FakeRegistry, client: SchemaRegistry, trouble: Trouble
) -> None:
    fake.troubles["/schemas"] = [trouble]
    with pytest.raises(Transient, match="schema registry"):
        await client.schema(1)
    await client.schema(1)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"7", b"{}", b'{"schema": 7}', b"\xff", b"[" * 100_000, b'"' * 9]
)
async def test_malformed_answers_are_an_outage(
    fake: FakeRegistry, client: SchemaRegistry, body: bytes
) -> None:
    """Nothing is refused for good because of a proxy, or of an address that is none."""
    fake.bodies["/schemas/ids/1"] = body
    with pytest.raises(Transient, match="the schema registry's answer for schema 1"):
        await client.schema(1)


async def test_a_huge_answer_is_not_read(fake: FakeRegistry, client: SchemaRegistry) -> None:
    fake.bodies["/schemas/ids/1"] = b" " * (ANSWER_BYTES_MAX + 1)
    with pytest.raises(Invalid, match="more than 1,048,576 bytes"):
        await client.schema(1)


async def test_an_answer_that_does_not_come_is_an_outage(
    fake: FakeRegistry, client: SchemaRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema_registry, "REQUEST_S", 0.05)
    fake.troubles["/schemas"] = ["hang"]
    with pytest.raises(Transient, match="does not answer: TimeoutError"):
        await client.schema(1)


async def test_an_address_that_is_none_is_an_outage() -> None:
    for url in ("http://127.0.0.1:1", "http://nowhere.invalid:8081"):
        client = SchemaRegistry(url)
        with pytest.raises(Transient, match="does not answer"):
            await client.schema(1)
        await client.close()


async def test_the_wrong_path_is_an_outage(fake: FakeRegistry) -> None:
    client = SchemaRegistry(fake.url + "/api")
    with pytest.raises(Transient, match="answers 404 for schema 1: check its address"):
        await client.schema(1)
    await client.close()


async def test_the_password_is_sent_and_never_shown(fake: FakeRegistry) -> None:
    fake.user, fake.password = "key", "s3cret"
    right = SchemaRegistry(fake.url, "key", "s3cret")
    assert (await right.schema(1)).type == "AVRO"
    await right.close()
    wrong = SchemaRegistry(fake.url, "key", "other-secret")
    with pytest.raises(Transient, match="check user and password") as refused:
        await wrong.schema(1)
    assert "other-secret" not in str(refused.value)
    await wrong.close()


async def test_a_private_authority_is_trusted_where_it_is_named(tmp_path: Path) -> None:
    authority = Authority("company", datetime.now(UTC))
    certificate, key = authority.issue(tmp_path / "registry", "registry", datetime.now(UTC))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    fake = FakeRegistry()
    fake.register("orders-value", EVENT)
    async with serving(fake, tls):
        trusting = SchemaRegistry(fake.url, cafile=authority.write(tmp_path / "ca.pem"))
        assert (await trusting.schema(1)).type == "AVRO"
        await trusting.close()
        other = SchemaRegistry(fake.url)
        with pytest.raises(Transient, match="certificate"):
            await other.schema(1)
        await other.close()
        await asyncio.sleep(0)
