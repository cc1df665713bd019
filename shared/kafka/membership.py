"""Every member of a consumer group: its name, isolation level, time-outs, and its assignments."""

from collections.abc import Callable, Iterable
from typing import Any

from aiokafka import ConsumerRebalanceListener, TopicPartition

from shared.contracts.topics import RAW_MESSAGE_BYTES_MAX
from shared.kafka.settings import KafkaSettings
from shared.observability.service_metrics import ServiceMetrics
from shared.postgres.ledger import TopicPartition as Tp

POLL_TIMEOUT_MS = 100
"""How long a poll waits for records: bounds how late a sweep or a shutdown starts."""

SESSION_TIMEOUT_MS = 10_000
"""Without a heartbeat for so long, the group gives the partitions to another member."""

REBALANCE_TIMEOUT_MS = 60_000
"""How long members may take to rejoin; aiokafka's default is the session timeout, which one slow
batch would exceed."""

POLL_INTERVAL_MS_MAX = 300_000
"""A worker that does not poll for so long leaves the group."""

FETCH_WAIT_MS_MAX = 500
"""How long the broker holds a fetch that finds nothing; it answers at once when a record comes,
so a shorter time only makes idle consumers busy."""

FETCH_BYTES_MAX = 2 * RAW_MESSAGE_BYTES_MAX
"""Bytes fetched per partition at once; one oversized record must fit."""


def member_kwargs(settings: KafkaSettings, group: str) -> dict[str, Any]:
    """Returns keyword arguments for a member of `group`, which commits its offsets explicitly.

    It reads committed records only: those of aborted transactions are not events.
    """
    return settings.client_kwargs(group) | {
        "group_id": f"ebbwatch-{group}",
        "enable_auto_commit": False,
        "isolation_level": "read_committed",
        "session_timeout_ms": SESSION_TIMEOUT_MS,
        "heartbeat_interval_ms": SESSION_TIMEOUT_MS // 3,
        "rebalance_timeout_ms": REBALANCE_TIMEOUT_MS,
        "max_poll_interval_ms": POLL_INTERVAL_MS_MAX,
        "max_partition_fetch_bytes": FETCH_BYTES_MAX,
        "fetch_max_wait_ms": FETCH_WAIT_MS_MAX,
    }


class Assignments(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka is untyped
    """Notes what changed. Does not await: an exception in here would only be logged."""

    def __init__(
        self,
        metrics: ServiceMetrics | None,
        assign: Callable[[set[Tp]], None] | None = None,
        lose: Callable[[set[Tp]], None] | None = None,
    ) -> None:
        """`assign` and `lose` are called with the partitions that came and went."""
        self._metrics, self._assign, self._lose = metrics, assign, lose

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        if self._lose is not None:
            self._lose({(tp.topic, tp.partition) for tp in revoked})

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        if self._metrics is not None:
            self._metrics.rebalances.inc()
        if self._assign is not None:
            self._assign({(tp.topic, tp.partition) for tp in assigned})
