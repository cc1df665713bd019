"""No external input, and nothing read back from storage, raises anything but `Invalid`.

Short by default. With `EBBWATCH_FUZZ_S` it runs for so many seconds in all, with a seed for each
round, so that a finding can be repeated: it names the decoder and the seed.
"""

import asyncio
import json
import os
import random
import time
from ipaddress import ip_network

import pytest

from services.alerts.connectors.core.config import KINDS as CRMS
from services.alerts.connectors.registry import KINDS
from services.alerts.delivery.http_client import Http
from shared.kernel.errors import Invalid
from shared.runtime.clock import SystemClock
from tests.fuzz.decoders import DECODERS, Decoder
from tests.fuzz.mutation import RAW

SECONDS = float(os.environ.get("EBBWATCH_FUZZ_S", "0"))
"""0: the short run."""
ROUND = 150
"""Inputs of one decoder with one seed."""
HEADS = (
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 503 x\r\nRetry-After: \xff\r\n", b"HTTP/1.1 999 \r\n",
    b"HTTP/1.1 99999 x\r\n", b"HTTP/9.9 200\r\n", b"\x16\x03\x01", b"", b"HTTP/1.1 -1 x\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", b"HTTP/1.1 200 OK\r\n a: b\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n", b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n",
    b"HTTP/1.1 302 x\r\nLocation: http://[::1\r\n", b"HTTP/1.1 200 OK\r\nSet-Cookie: \x00;=\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 " + b"x" * 20_000 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=\xff\r\n",
)  # fmt: skip
REQUESTS = 100
"""Requests of the client with one seed."""

pytestmark = pytest.mark.timeout(120 + 2 * SECONDS)


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_raises_nothing_but_invalid(name: str) -> None:
    end = time.monotonic() + SECONDS * 0.8 / len(DECODERS)
    seed = 0
    while seed == 0 or time.monotonic() < end:
        rng = random.Random(f"{name}/{seed}")  # noqa: S311
        for _ in range(ROUND):
            try:
                DECODERS[name].once(rng)
            except AssertionError as finding:
                raise AssertionError(f"{name}, seed {seed}: {finding}") from finding
        seed += 1


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_reads_its_samples(name: str) -> None:
    """Otherwise mutations of them would not get far into it."""
    decoder, chance = DECODERS[name], random.Random(0)  # noqa: S311
    samples = [s if isinstance(s, bytes) else json.dumps(s).encode() for s in decoder.samples]
    refused = [_refused(decoder, chance, sample) for sample in samples for _ in range(40)]
    assert not all(refused) or name in {"webhook: callback", "wecom_app: callback"}


def _refused(decoder: Decoder, chance: random.Random, sample: bytes) -> bool:
    try:
        decoder.decode(chance, sample)
    except Invalid:
        return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_every_connector_is_in_the_table(kind: str) -> None:
    """A new connector needs decoders of its answers and of its stored data."""
    assert f"{kind}: answer" in DECODERS
    if kind in CRMS:
        assert f"{kind}: config" in DECODERS
        needs_token = kind != "wecom_bot"
        assert not needs_token or f"{kind}: token" in DECODERS


async def test_the_http_client_turns_whatever_it_hears_into_a_reply() -> None:
    rng = random.Random(0)  # noqa: S311

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        end = rng.choice((b"\r\n", b"", b"\r\n\r\n"))
        body = rng.choice(
            (rng.randbytes(50), rng.choice(RAW)[:50_000], b"5\r\nhello\r\n", b"zz\r\n")
        )
        writer.write(rng.choice(HEADS) + end + body)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    end = time.monotonic() + SECONDS * 0.2
    heard = 0
    async with (
        server,
        Http(timeout_s=0.5, allowed=[ip_network("127.0.0.0/8")], clock=SystemClock()) as http,
    ):
        for url in ("http://[::1", "http://h:99999999/", "http://\ud800/", "", "x", "http://a b/"):
            assert (await http.send("POST", url, {})).status is None
        for header in ("a\r\nb: c", "\ud800", "\0"):
            url = f"http://127.0.0.1:{port}/"
            await http.send("POST", url, {"authorization": header})
        while heard < REQUESTS or time.monotonic() < end:
            reply = await http.send("POST", f"http://127.0.0.1:{port}/", {}, b"{}")
            assert reply.status is not None or reply.error
            heard += 1
