"""Gathers facts from the services' ports: who answers, whether it is ready, what it serves."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import httpx
import orjson
from prometheus_client.parser import text_string_to_metric_families

from deploy.doctor.process_judgement import ModelFacts, ProcessFacts
from services.scoring.model.store import ArtefactStore
from shared.http.app import METRICS, SERVICE
from shared.kernel.errors import Invalid, Transient
from shared.runtime.version import UNKNOWN

ANSWER_S: Final = 5.0
"""How long one answer may take: readiness answers within 3 s."""
PROBE_BYTES_MAX: Final = 64 * 1024
METRICS_BYTES_MAX: Final = 8 * 1024 * 1024
"""A stranger's answer may have no end; ours are far shorter."""
WORDS_MAX: Final = 200
"""Characters of a reason that are shown."""


async def asked(service: str, url: str, token: str | None) -> ProcessFacts:
    """Asks the process at `url` who and how it is; never raises for what it answers."""
    facts = ProcessFacts(service, url)
    async with httpx.AsyncClient(base_url=url, timeout=ANSWER_S, trust_env=False) as client:
        try:
            async with asyncio.timeout(ANSWER_S):
                headers, body = await _get(client, "/readyz", PROBE_BYTES_MAX, {})
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            return facts
        facts = replace(facts, answered=True, claims=headers.get(SERVICE))
        if facts.claims != service:
            return facts
        facts = replace(facts, missing=_words(body, "missing"), notes=_words(body, "notes"))
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with asyncio.timeout(ANSWER_S):
                _, text = await _get(client, METRICS, METRICS_BYTES_MAX, sent)
        except (httpx.HTTPError, TimeoutError):
            return facts
    return _with_metrics(facts, text.decode(errors="replace"))


async def _get(
    client: httpx.AsyncClient, path: str, most: int, headers: Mapping[str, str]
) -> tuple[httpx.Headers, bytes]:
    body = bytearray()
    async with client.stream("GET", path, headers=dict(headers)) as answer:
        async for part in answer.aiter_bytes():
            body += part
            if len(body) > most:
                break
        return answer.headers, bytes(body)


def _words(body: bytes, name: str) -> dict[str, str]:
    """Returns the reasons of that name in a probe's answer."""
    try:
        found = orjson.loads(body).get(name) or {}
        return {str(key): str(why)[:WORDS_MAX] for key, why in found.items()}
    except (ValueError, AttributeError):
        return {}


def _with_metrics(facts: ProcessFacts, text: str) -> ProcessFacts:
    """Returns the facts with the build and the model that the metrics name."""
    named: dict[str, Mapping[str, str]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.endswith("_info"):
                    named[sample.name] = sample.labels
    except ValueError:
        return facts  # an error's document instead of metrics
    build = named.get(f"ebbwatch_{facts.service}_build_info", {})
    return replace(
        facts,
        metrics=any(line.startswith("ebbwatch_") for line in text.splitlines()),
        model=named.get("ebbwatch_scoring_model_info", {}).get("version"),
        build=" ".join(
            build[name]
            for name in ("version", "revision")
            if build.get(name, UNKNOWN) not in {"", UNKNOWN}
        )
        or None,
    )


async def model(
    place: str,
    promoted: tuple[str, str] | None,
    hosts: Sequence[str],
    processes: Sequence[ProcessFacts],
) -> ModelFacts:
    """Reads the promoted model (version, digest) from the store, as every process has to."""
    trouble = None
    if promoted is not None:
        try:
            store = ArtefactStore(place)
            await asyncio.to_thread(store.get, promoted[1])
        except (Invalid, Transient, OSError) as error:
            trouble = str(error)[:WORDS_MAX]
    return ModelFacts(
        promoted=promoted and promoted[0],
        place=_without_password(place),
        trouble=trouble and trouble.replace(place, _without_password(place)),
        remote="://" in place and not place.startswith("file://"),
        hosts=hosts,
        processes=processes,
    )


def _without_password(place: str) -> str:
    """Returns the store's address without a user and password in it.

    >>> _without_password("sftp://me:secret@host/models"), _without_password("/srv/models")
    ('sftp://host/models', '/srv/models')
    """
    scheme, mark, rest = place.partition("://")
    if not mark:
        return place
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
