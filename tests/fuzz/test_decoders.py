"""No external input, and nothing read back from storage, raises anything but `Invalid`.

One seed for each decoder; `test_many_seeds.py` runs for minutes.
"""

import json
import random

import pytest

from services.alerts.connectors.core.config import KINDS as CRMS
from services.alerts.connectors.registry import KINDS
from shared.kernel.errors import Invalid
from tests.fuzz.decoders import DECODERS, Decoder
from tests.fuzz.rounds import decoder_round, hostile_receiver

SEED = 0


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_raises_nothing_but_invalid(name: str) -> None:
    decoder_round(name, SEED)


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


async def test_the_http_client_turns_any_answer_into_a_reply() -> None:
    async with hostile_receiver(SEED) as receiver:
        for url in ("http://[::1", "http://h:99999999/", "http://\ud800/", "", "x", "http://a b/"):
            assert (await receiver.http.send("POST", url, {})).status is None
        for header in ("a\r\nb: c", "\ud800", "\0"):
            await receiver.http.send("POST", receiver.url, {"authorization": header})
        await receiver.client_round()
