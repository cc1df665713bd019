"""Kafka header names, in one place.

On raw records: CloudEvents binary mode (`ce_*`), the W3C trace context, the backfill marker.
On our own topics the value is always a structured CloudEvent or a message of this package,
so only the trace context and the dead letter's facts travel as headers.
"""

CONTENT_TYPE = "content-type"
CLOUDEVENTS_JSON = "application/cloudevents+json"
CLOUDEVENTS_PREFIX = "ce_"
TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

BACKFILL = "ebbwatch-backfill"
"""Names the import that a raw record belongs to. Such a record builds state and never
leads to a task. The import ends with an event of type `BACKFILL_ENDED`."""

SOURCE = "ebbwatch-source"
"""Names the HTTP source that a raw record came from: that source's mapping is applied to it,
whatever its topic's."""

DEAD_REASON = "ebbwatch-reason"
DEAD_FIELD = "ebbwatch-field"
DEAD_ORIGIN = "ebbwatch-origin"
"""`topic/partition/offset` of the record when it first arrived."""
DEAD_STAGE = "ebbwatch-stage"
"""The service that refused it: `ingest`, `scoring` or `alerts`."""
DEAD_HEADER_PREFIX = "ebbwatch-original-"
"""Prefix of the original record's headers on its dead letter."""

ARRIVED = "ebbwatch-arrived"
"""Unix ms at which a record first arrived: on dead letters, and on records that are replayed."""
REPLAY_OF = "ebbwatch-replay-of"
"""Number of the dead letter that a replayed record comes from."""

ERASURE_REQUEST = "ebbwatch-erasure"
"""On a tombstone: the request that erased the customer. Nothing older of the customer follows."""
ERASURE_AT = "ebbwatch-erasure-at"
"""On a tombstone: when the erasure was requested, RFC 3339 UTC."""
