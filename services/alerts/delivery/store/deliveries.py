"""The queue of messages to endpoints, and the log of attempts.

A delivery is claimed with a lease and a token, sent outside any transaction, and settled only while
its token is still valid. Of the messages of one customer at one endpoint only the oldest unfinished
one can be claimed: a customer's messages are sent in the order of their `seq`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from services.alerts.delivery.ports import (
    ALONE_FROM,
    Attempted,
    Leased,
    NewDelivery,
)
from shared.postgres.engine import Driver, UnitOfWork

CHECK_AGAIN = timedelta(seconds=1)
"""When a message that waits for one under way is checked again, unless it becomes due earlier: the
interval is the longest acceptable delay."""

ONLY_FAILURES_MAX = timedelta(hours=120)
"""An endpoint that only fails for so long is switched off (as Svix does): longer than the whole
schedule of one message, so that it stays on over a long weekend."""

_LEASED = (
    "customer_id",
    "id",
    "endpoint_id",
    "task_id",
    "kind",
    "body",
    "attempts",
    "uncertain",
    "remote_id",
    "token",
    "received_ms",
    "lost",
    "traceparent",
)

_STATUS = {"delivered": "delivered", "failed": "failed", "retry": "pending", "gone": "pending"}
"""The delivery's status after an outcome. `gone` waits for its endpoint to be enabled again."""


class Deliveries:
    """Statements on `alerts.delivery`, `attempt` and `endpoint`, within an open transaction."""

    async def add(self, work: UnitOfWork, deliveries: Sequence[NewDelivery]) -> None:
        """Queue messages of locked customers, in this order."""
        if deliveries:
            await work.driver.execute(
                """
                INSERT INTO alerts.delivery (customer_id, id, endpoint_id, task_id, kind, body,
                                             next_at, created_at, received_ms, traceparent)
                SELECT c, i, e, t, k, b, a, a, r, p
                  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],
                              $6::bytea[], $7::timestamptz[], $8::bigint[], $9::text[])
                       WITH ORDINALITY AS u(c, i, e, t, k, b, a, r, p, n) ORDER BY n
                """,
                [d.customer_id for d in deliveries],
                [d.id for d in deliveries],
                [d.endpoint_id for d in deliveries],
                [d.task_id for d in deliveries],
                [d.kind for d in deliveries],
                [d.body for d in deliveries],
                [d.created_at for d in deliveries],
                [d.received_ms for d in deliveries],
                [d.traceparent for d in deliveries],
            )

    async def look(
        self, driver: Driver, endpoints: Sequence[str], now: datetime
    ) -> tuple[dict[str, int], bool]:
        """Return the version of each endpoint that may be sent to, and whether work is due.

        Work is due if one of `endpoints` has some. Runs outside any transaction: a caller that acts
        on the result reads again within one.
        """
        rows = await driver.fetch(
            """
            SELECT e.id, e.version, e.id = ANY($1::text[]) AND EXISTS (
                   SELECT FROM alerts.delivery d WHERE d.endpoint_id = e.id
                      AND d.status = 'pending' AND d.next_at <= $2) AS due
              FROM alerts.endpoint e
             WHERE e.deleted_at IS NULL AND e.paused_at IS NULL AND e.disabled_at IS NULL
            """,
            list(endpoints),
            now,
        )
        return {row["id"]: row["version"] for row in rows}, any(row["due"] for row in rows)

    async def claim(
        self, work: UnitOfWork, most: Mapping[str, int], now: datetime, until: datetime
    ) -> list[Leased]:
        """Lease what is due until `until`: for each endpoint at most `most[endpoint]`.

        A lease that ran out without an outcome counts in `lost`, up to `ALONE_FROM`. A due message
        that is not its customer's oldest is postponed: to when the oldest is due or, while that is
        under way, a moment ahead. The steps are separate statements so that each has only one plan,
        also on tables that were never analysed.
        """
        rows = await work.driver.fetch(
            """
            WITH due AS MATERIALIZED (
              SELECT d.*
                FROM unnest($1::text[], $4::int[]) AS e(id, most) CROSS JOIN LATERAL (
                  SELECT customer_id, id, endpoint_id FROM alerts.delivery
                   WHERE endpoint_id = e.id AND status = 'pending' AND next_at <= $2
                   ORDER BY next_at, seq LIMIT e.most FOR UPDATE SKIP LOCKED) d
            ), turn AS MATERIALIZED (
              SELECT due.customer_id, due.id, oldest.id = due.id AS ours,
                     CASE WHEN oldest.token IS NULL THEN greatest(oldest.next_at, $5::timestamptz)
                          ELSE $5 END AS later
                FROM due CROSS JOIN LATERAL (
                  SELECT id, token, next_at FROM alerts.delivery o
                   WHERE o.endpoint_id = due.endpoint_id AND o.customer_id = due.customer_id
                     AND o.status = 'pending' ORDER BY o.seq LIMIT 1) oldest
            ), claimed AS (
              UPDATE alerts.delivery d
                 SET next_at = CASE WHEN turn.ours THEN $3 ELSE turn.later END,
                     token = CASE WHEN turn.ours THEN gen_random_uuid() END,
                     lost = d.lost + (turn.ours AND d.token IS NOT NULL AND d.lost < $6)::int
                FROM turn WHERE d.customer_id = turn.customer_id AND d.id = turn.id
              RETURNING d.customer_id, d.id, d.endpoint_id, d.task_id, d.kind, d.body, d.attempts,
                        d.uncertain, d.token, d.received_ms, d.lost, d.traceparent, d.seq,
                        turn.ours)
            SELECT c.*, r.remote_id FROM claimed c LEFT JOIN alerts.remote_task r
                ON r.customer_id = c.customer_id AND r.endpoint_id = c.endpoint_id
                   AND r.task_id = c.task_id
             WHERE c.ours ORDER BY c.seq
            """,
            list(most),
            now,
            until,
            list(most.values()),
            now + CHECK_AGAIN,
            ALONE_FROM,
        )
        return [Leased(until=until, **{name: row[name] for name in _LEASED}) for row in rows]

    async def settle(self, work: UnitOfWork, attempts: Sequence[Attempted]) -> dict[str, str]:
        """Record attempts, and what follows where the delivery is still leased to us.

        Returns the endpoints that this switches off, each with the reason.
        """
        if not attempts:
            return {}
        rows = await work.driver.fetch(
            """
            UPDATE alerts.delivery d
               SET status = r.status, attempts = d.attempts + 1, token = NULL,
                   next_at = coalesce(r.next_at, d.next_at), uncertain = r.uncertain, lost = 0,
                   reason = r.reason,
                   finished_at = CASE WHEN r.status <> 'pending' THEN r.ended_at END
              FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::timestamptz[],
                          $6::timestamptz[], $7::boolean[], $8::text[])
                   AS r(customer_id, id, token, status, next_at, ended_at, uncertain, reason)
             WHERE d.customer_id = r.customer_id AND d.id = r.id AND d.token = r.token
            RETURNING d.endpoint_id, d.customer_id, d.seq,
                      CASE WHEN d.status = 'pending' THEN d.next_at ELSE r.ended_at END AS until
            """,
            [a.delivery.customer_id for a in attempts],
            [a.delivery.id for a in attempts],
            [a.delivery.token for a in attempts],
            [_STATUS[a.outcome] for a in attempts],
            [a.next_at for a in attempts],
            [a.ended_at for a in attempts],
            [a.uncertain for a in attempts],
            [a.answer.error for a in attempts],
        )
        await _move_followers(work, [dict(row) for row in rows])
        await _log(work, attempts)
        await _name(work, [a for a in attempts if a.answer.remote_id is not None])
        return await _judge(work, attempts)

    async def release(self, work: UnitOfWork, leased: Sequence[Leased], now: datetime) -> None:
        """Return deliveries that were claimed and not attempted, or not to the end."""
        if leased:
            await work.driver.execute(
                "UPDATE alerts.delivery SET next_at = $3, token = NULL, lost = least(lost, $4) "
                "WHERE id = ANY($1::text[]) AND token = ANY($2::uuid[])",
                [d.id for d in leased],
                [d.token for d in leased],
                now,
                ALONE_FROM,
            )

    async def begin_alone(self, work: UnitOfWork, delivery: Leased) -> None:
        """Record that this delivery is sent now and no other: a death counts from here on."""
        await work.driver.execute(
            "UPDATE alerts.delivery SET lost = lost + 1 WHERE id = $1 AND token = $2",
            delivery.id,
            delivery.token,
        )


async def _move_followers(work: UnitOfWork, settled: Sequence[dict[str, Any]]) -> None:
    """Make the customer's later messages due when they can be claimed.

    Not needed for the order, which `claim` ensures by itself: it makes the next message due at
    once, and postpones what waits for an endpoint that is down.
    """
    await work.driver.execute(
        """
        UPDATE alerts.delivery f SET next_at = s.until
          FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[])
               AS s(endpoint_id, customer_id, seq, until)
         WHERE f.endpoint_id = s.endpoint_id AND f.customer_id = s.customer_id
           AND f.status = 'pending' AND f.token IS NULL AND f.seq > s.seq
        """,
        [row["endpoint_id"] for row in settled],
        [row["customer_id"] for row in settled],
        [row["seq"] for row in settled],
        [row["until"] for row in settled],
    )


async def _log(work: UnitOfWork, attempts: Sequence[Attempted]) -> None:
    await work.driver.execute(
        """
        INSERT INTO alerts.attempt (customer_id, delivery_id, number, started_at, duration_ms,
                                    outcome, response_status, response_head, error, next_at)
        SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::timestamptz[], $5::float8[],
                             $6::text[], $7::int[], $8::text[], $9::text[], $10::timestamptz[])
        """,
        [a.delivery.customer_id for a in attempts],
        [a.delivery.id for a in attempts],
        [a.delivery.attempts + 1 for a in attempts],
        [a.started_at for a in attempts],
        [a.answer.duration_ms for a in attempts],
        [a.outcome for a in attempts],
        [a.answer.status for a in attempts],
        [a.answer.head for a in attempts],
        [a.answer.error for a in attempts],
        [a.next_at for a in attempts],
    )


async def _name(work: UnitOfWork, named: Sequence[Attempted]) -> None:
    """Store the ids that receiving systems gave the tasks; the last of a batch stays."""
    names = {(a.delivery.customer_id, a.delivery.endpoint_id, a.delivery.task_id): a for a in named}
    if names:
        await work.driver.execute(
            """
            INSERT INTO alerts.remote_task (customer_id, endpoint_id, task_id, remote_id,
                                            created_at)
            SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
            ON CONFLICT (customer_id, endpoint_id, task_id)
            DO UPDATE SET remote_id = excluded.remote_id
            """,
            [customer for customer, _, _ in names],
            [endpoint for _, endpoint, _ in names],
            [task for _, _, task in names],
            [a.answer.remote_id for a in names.values()],
            [a.ended_at for a in names.values()],
        )


async def _judge(work: UnitOfWork, attempts: Sequence[Attempted]) -> dict[str, str]:
    """Record since when each endpoint only fails, and switch off those that are gone.

    One success clears all failures. A message that will never be accepted is no evidence about the
    endpoint: it was answered.
    """
    worked: dict[str, bool] = {}
    ended: dict[str, list[datetime]] = {}
    off: dict[str, str] = {}
    for a in attempts:
        endpoint = a.delivery.endpoint_id
        if a.answer.result == "permanent":
            continue
        worked[endpoint] = worked.get(endpoint, False) or a.outcome == "delivered"
        ended.setdefault(endpoint, []).append(a.ended_at)
        if a.outcome == "gone":
            off[endpoint] = a.answer.error or "answers that it is gone"
    ids = sorted(worked)
    await work.driver.execute(
        """
        UPDATE alerts.endpoint e SET failing_since = CASE WHEN NOT r.worked THEN r.since END
          FROM unnest($1::text[], $2::boolean[], $3::timestamptz[]) AS r(id, worked, since)
         WHERE e.id = r.id AND (e.failing_since IS NULL) <> r.worked
        """,
        ids,
        [worked[each] for each in ids],
        [min(ended[each]) for each in ids],
    )
    failing = [each for each in ids if not worked[each] and each not in off]
    if failing:
        rows = await work.driver.fetch(
            "SELECT e.id FROM alerts.endpoint e "
            "JOIN unnest($1::text[], $2::timestamptz[]) AS r(id, at) ON e.id = r.id "
            "WHERE e.failing_since <= r.at - $3::interval",
            failing,
            [max(ended[each]) for each in failing],
            ONLY_FAILURES_MAX,
        )
        hours = ONLY_FAILURES_MAX.total_seconds() / 3600
        off |= {row["id"]: f"nothing but failures for {hours:g} h" for row in rows}
    if not off:
        return {}
    rows = await work.driver.fetch(
        "UPDATE alerts.endpoint e SET disabled_at = $3, disabled_reason = r.reason "
        "FROM unnest($1::text[], $2::text[]) AS r(id, reason) "
        "WHERE e.id = r.id AND e.disabled_at IS NULL RETURNING e.id, r.reason",
        list(off),
        list(off.values()),
        max(a.ended_at for a in attempts),
    )
    return {row["id"]: row["reason"] for row in rows}
