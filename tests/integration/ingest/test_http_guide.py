"""The examples of `docs/intake-http.md` do what they say, as they are printed there."""

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from services.ingest.core.http_sources import read_sources
from shared.contracts.activity import DECODER
from shared.contracts.events import IDENTITY, Identity
from tests.consumers.running import missing
from tests.integration.ingest.running import ServiceEnvironment, ingest

pytestmark = pytest.mark.stack

GUIDE = Path("docs/intake-http.md").read_text(encoding="utf-8")
TOOLS = ("curl", "gzip")


async def test_each_example(place: ServiceEnvironment) -> None:
    """Every block for a shell succeeds, and all of its events arrive."""
    if absent := [tool for tool in TOOLS if shutil.which(tool) is None]:
        missing(f"install {', '.join(absent)}")
    examples = re.findall(r"```bash\n(.*?)```", GUIDE, re.S)
    async with ingest(place) as service:
        shown = await place.command("tokens", "create", "--name", "t", "--scope", "events:write")
        given = {"URL": service.url, "TOKEN": shown.strip()}
        for example in examples:
            process = await asyncio.create_subprocess_exec(
                *("bash", "-euo", "pipefail", "-c", example),
                env={**os.environ, **given},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            out, err = await process.communicate()
            assert process.returncode == 0, f"{example}\n{out.decode()}{err.decode()}"
            assert b'"refused":[]' in out, out
        activity = await place.read(place.activity, 7)
    found = [DECODER.decode(record.value or b"") for record in activity]
    (link,) = [event for event in found if event.type == IDENTITY]
    assert (link.subject, link.data.identity) == (
        "mo-web", Identity(ids=["mo-store"], primary="mo-web")
    )  # fmt: skip
    ids = sorted(event.id for event in found if event is not link)
    assert ids == ["order-o-1", "till-1", "till-2", "till-3", "till-4", "till-5"]


def test_the_setting_can_be_read() -> None:
    """The document of the sources, with secrets that are long enough."""
    (shown,) = [x for x in re.findall(r"```json\n(.*?)```", GUIDE, re.S) if "signature" in x]
    found = read_sources(shown.replace("whsec_…", "whsec_0123456789abcdef"))
    assert [source.signature for source in found.values()] == ["shopify", "woocommerce", "stripe"]
