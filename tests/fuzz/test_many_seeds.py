"""The decoders for minutes: other seeds than those of `test_decoders.py`, in `make test-slow`.

All of it together lasts `EBBWATCH_FUZZ_S` seconds. A finding names the decoder and the seed.
"""

import itertools
import os
import time

import pytest

from tests.fuzz.decoders import DECODERS
from tests.fuzz.rounds import decoder_round, hostile_receiver

SECONDS = float(os.environ.get("EBBWATCH_FUZZ_S", "120"))
CLIENT_SHARE = 0.2
"""Of the time, for the client; the decoders share the rest equally."""

pytestmark = pytest.mark.timeout(120 + 2 * SECONDS)


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_raises_nothing_but_invalid_for_any_seed(name: str) -> None:
    end = time.monotonic() + SECONDS * (1 - CLIENT_SHARE) / len(DECODERS)
    for seed in itertools.count(1):
        decoder_round(name, seed)
        if time.monotonic() >= end:
            break


async def test_the_http_client_turns_any_answer_into_a_reply_for_minutes() -> None:
    end = time.monotonic() + SECONDS * CLIENT_SHARE
    async with hostile_receiver(1) as receiver:
        while True:
            await receiver.client_round()
            if time.monotonic() >= end:
                break
