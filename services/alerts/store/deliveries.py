"""The queue of messages to endpoints, and the log of attempts.

A delivery is claimed with a lease and a token, sent outside any transaction, and settled only
while its token still stands. Of one customer at one endpoint only the oldest unfinished one can
be claimed: the order of a customer's messages is the order of their `seq`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from services.alerts.ports import Attempted, Leased, NewDelivery
from shared.postgres.engine import UnitOfWork

LOOK_AGAIN = timedelta(seconds=1)
"""When a message that waits for one under way is looked at again, should nobody tell it before:
as rarely as a late second is bearable."""

_STATUS = {"delivered": "delivered", "failed": "failed", "retry": "pending", "gone": "pending"}
"""What an outcome makes of the delivery. `gone` waits for its endpoint to be enabled again."""


class Deliveries:
    """Statements on `alerts.delivery`, `attempt` and `endpoint`, within an open transaction."""

    async def add(self, work: UnitOfWork, deliveries: Sequence[NewDelivery]) -> None:
        """Queue messages of customers that are locked, in this order."""
        if deliveries:
            await work.driver.execute(
                """
                INSERT INTO alerts.delivery (customer_id, id, endpoint_id, task_id, kind, body,
                                             next_at, created_at, received_ms)
                SELECT c, i, e, t, k, b, a, a, r
                  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],
                              $6::bytea[], $7::timestamptz[], $8::bigint[])
                       WITH ORDINALITY AS u(c, i, e, t, k, b, a, r, n) ORDER BY n
                """,
                [d.customer_id for d in deliveries],
                [d.id for d in deliveries],
                [d.endpoint_id for d in deliveries],
                [d.task_id for d in deliveries],
                [d.kind for d in deliveries],
                [d.body for d in deliveries],
                [d.created_at for d in deliveries],
                [d.received_ms for d in deliveries],
            )

    async def claim(
        self, work: UnitOfWork, endpoints: Sequence[str], now: datetime, until: datetime, most: int
    ) -> list[Leased]:
        """Lease what is due until `until`: of at most `most` for each endpoint that is enabled.

        What is due and not its customer's oldest is moved out of the way: to when the oldest
        is due or, while that is under way, a moment ahead. The steps are apart from one another
        so that each has but one plan, also on tables that were never analysed.
        """
        rows = await work.driver.fetch(
            """
            WITH due AS MATERIALIZED (
              SELECT d.*
                FROM alerts.endpoint e CROSS JOIN LATERAL (
                  SELECT customer_id, id, endpoint_id FROM alerts.delivery
                   WHERE endpoint_id = e.id AND status = 'pending' AND next_at <= $2
                   ORDER BY next_at, seq LIMIT $4 FOR UPDATE SKIP LOCKED) d
               WHERE e.id = ANY($1::text[]) AND e.disabled_at IS NULL
            ), turn AS MATERIALIZED (
              SELECT due.customer_id, due.id, oldest.id = due.id AS ours,
                     CASE WHEN oldest.token IS NULL THEN greatest(oldest.next_at, $5::timestamptz)
                          ELSE $5 END AS later
                FROM due CROSS JOIN LATERAL (
                  SELECT id, token, next_at FROM alerts.delivery o
                   WHERE o.endpoint_id = due.endpoint_id AND o.customer_id = due.customer_id
                     AND o.status = 'pending' ORDER BY o.seq LIMIT 1) oldest
            )
            UPDATE alerts.delivery d
               SET next_at = CASE WHEN turn.ours THEN $3 ELSE turn.later END,
                   token = CASE WHEN turn.ours THEN gen_random_uuid() END
              FROM turn WHERE d.customer_id = turn.customer_id AND d.id = turn.id
            RETURNING d.customer_id, d.id, d.endpoint_id, d.body, d.attempts, d.token,
                      d.received_ms, d.seq, turn.ours
            """,
            list(endpoints),
            now,
            until,
            most,
            now + LOOK_AGAIN,
        )
        return [
            Leased(
                customer_id=row["customer_id"],
                id=row["id"],
                endpoint_id=row["endpoint_id"],
                body=row["body"],
                attempts=row["attempts"],
                token=row["token"],
                until=until,
                received_ms=row["received_ms"],
            )
            for row in sorted(rows, key=lambda row: int(row["seq"]))
            if row["ours"]
        ]

    async def settle(self, work: UnitOfWork, attempts: Sequence[Attempted]) -> None:
        """Record attempts, and what follows where the delivery is still ours."""
        if not attempts:
            return
        rows = await work.driver.fetch(
            """
            UPDATE alerts.delivery d
               SET status = r.status, attempts = d.attempts + 1, token = NULL,
                   next_at = coalesce(r.next_at, d.next_at),
                   finished_at = CASE WHEN r.status <> 'pending' THEN r.ended_at END
              FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::timestamptz[],
                          $6::timestamptz[])
                   AS r(customer_id, id, token, status, next_at, ended_at)
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
        )
        await _move_followers(work, [dict(row) for row in rows])
        await _log(work, attempts)
        await _disable(work, [a for a in attempts if a.outcome == "gone"])

    async def release(self, work: UnitOfWork, leased: Sequence[Leased], now: datetime) -> None:
        """Give back what was claimed and not attempted, or not to the end."""
        if leased:
            await work.driver.execute(
                "UPDATE alerts.delivery SET next_at = $3, token = NULL "
                "WHERE id = ANY($1::text[]) AND token = ANY($2::uuid[])",
                [d.id for d in leased],
                [d.token for d in leased],
                now,
            )


async def _move_followers(work: UnitOfWork, settled: Sequence[dict[str, Any]]) -> None:
    """Let the customer's later messages be due when their turn can come.

    Not needed for the order, which `claim` holds by itself: it is what makes the next message
    due at once, and keeps what waits for an endpoint that is down out of the way.
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
    await work.driver.executemany(
        """
        INSERT INTO alerts.attempt (customer_id, delivery_id, number, started_at, duration_ms,
                                    outcome, response_status, response_head, error, next_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        """,
        [
            (
                a.delivery.customer_id,
                a.delivery.id,
                a.delivery.attempts + 1,
                a.started_at,
                a.answer.duration_ms,
                a.outcome,
                a.answer.status,
                a.answer.head,
                a.answer.error,
                a.next_at,
            )
            for a in attempts
        ],
    )


async def _disable(work: UnitOfWork, gone: Sequence[Attempted]) -> None:
    if gone:
        await work.driver.execute(
            "UPDATE alerts.endpoint SET disabled_at = $2, disabled_reason = $3 "
            "WHERE id = ANY($1::text[]) AND disabled_at IS NULL",
            sorted({a.delivery.endpoint_id for a in gone}),
            gone[0].ended_at,
            "answered 410 Gone",
        )
