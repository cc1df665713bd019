"""Receives events over HTTP: CloudEvents, Segment's API, and vendors' signed webhooks."""

from fastapi import FastAPI

from services.ingest.inbound.http import events, identities, segment, sources
from services.ingest.inbound.http.parts import Parts
from shared.http.borders import BodyRule

EVENTS = events.EVENTS
BODIES: dict[str, BodyRule] = {
    EVENTS: BodyRule(bytes_max=5 * 1024 * 1024, seconds_max=30.0, raw=True, gzip=True),
    identities.IDENTITIES: BodyRule(raw=True),
    sources.SOURCES: BodyRule(seconds_max=5.0, raw=True, at_once_max=sources.AT_ONCE_MAX),
    **{path: BodyRule(raw=True, gzip=True) for path in segment.PATHS},
}
"""1,000 events of 5 KB, ten times their usual size; a webhook, which holds one order or invoice; a
batch of Segment's, at most 500 KB. Each event is checked on its own."""

OPEN: tuple[str, ...] = (sources.SOURCES,)
"""Paths where a signature takes the place of a token."""

BASIC: tuple[str, ...] = segment.PATHS
"""Paths where the token may be the user name of Basic authentication."""


def add_routes(app: FastAPI, parts: Parts) -> None:
    """Add every route, guarded by the scope `events:write` or by a signature."""
    events.add_events(app, parts)
    identities.add_identities(app, parts)
    segment.add_segment(app, parts)
    sources.add_sources(app, parts)
