"""Signs of leaving on a real database: joining a task, ending it, a second warning (R12)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.core.policy_document import read
from services.alerts.inbound.policy_file import read_policy
from services.alerts.ports import VerdictGiven
from services.alerts.settings import POLICY_FILE
from shared.contracts import events
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.risk import Classification
from tests.integration.alerts.harness import AlertsHarness, outbox, rows
from tests.unit.alerts.samples import assessed, day, sign

pytestmark = pytest.mark.stack

SILENCE = sign("silence_beyond_rhythm", 0.6, usual_gap_days=9.0, days_silent=20.0)
COMPLAINT = sign("complaint_open", 1.0, complaints_open=1.0)


@pytest.fixture
async def bench(engine: AsyncEngine) -> AsyncIterator[AlertsHarness]:
    """Provide one endpoint without a sender, and the default policy."""
    async with AlertsHarness(engine, endpoints={"crm": "http://127.0.0.1:9/hook"}) as made:
        made.policy = read_policy(Path(POLICY_FILE))
        yield made


def bought(at: float) -> Activity:
    return Activity(specversion="1.0", id=f"b-{at}", source="/t", type=events.PURCHASE,
                    time=day(at), subject="c-1", data=ActivityData(amount=1.0))  # fmt: skip


async def tasks(bench: AlertsHarness) -> list[tuple[Any, ...]]:
    return await rows(
        bench.engine,
        "SELECT cause, causes, status, close_reason, version FROM alerts.task ORDER BY opened_at",
    )


async def reported(bench: AlertsHarness) -> list[str]:
    found = await rows(bench.engine, "SELECT kind FROM alerts.delivery ORDER BY seq")
    return [kind.removeprefix("retention_task.") for (kind,) in found]


async def test_who_stops_comes_back_and_stops_again_is_warned_about_twice(
    bench: AlertsHarness,
) -> None:
    await bench.read_risk(assessed(1, 0))
    await bench.read_activity(bought(2))
    await bench.read_risk(assessed(2, 22, last_purchase_at=day(2)))
    assert await tasks(bench) == [
        ("silence_beyond_rhythm", ["silence_beyond_rhythm"], "closed", "came_back", 2),
        ("silence_beyond_rhythm", ["silence_beyond_rhythm"], "open", None, 1),
    ]
    assert await reported(bench) == ["opened", "closed", "opened"]


@pytest.mark.parametrize("together", [True, False])
async def test_a_complaint_joins_the_open_task_and_the_owner_learns_of_it_once(
    bench: AlertsHarness, together: bool
) -> None:
    """Holds also when both come in one batch, and when everything is read again."""
    both = [assessed(1, 0), assessed(2, 1, "critical", signs=[SILENCE, COMPLAINT])]
    for batch in [both] if together else [both[:1], both[1:]]:
        await bench.read_risk(*batch)
    await bench.read_risk(*both)
    causes = ["silence_beyond_rhythm", "complaint_open"]
    assert await tasks(bench) == [("silence_beyond_rhythm", causes, "open", None, 2)]
    assert await reported(bench) == ["opened", "updated"]
    ((body,),) = await rows(
        bench.engine,
        "SELECT convert_from(body, 'UTF8') FROM alerts.delivery WHERE kind LIKE '%updated'",
    )
    assert "1 complaint not resolved" in body
    assert '"band":"critical"' in body
    assert [f.kind for f in await outbox(bench.engine)] == ["task_raised"]
    history = "SELECT kind, actor, detail FROM alerts.task_event"
    assert await rows(bench.engine, history) == [("joined", "risk", {"causes": ["complaint_open"]})]


async def test_a_purchase_leaves_a_complaint_open_until_it_is_settled(bench: AlertsHarness) -> None:
    await bench.read_risk(assessed(1, 0), assessed(2, 1, signs=[SILENCE, COMPLAINT]))
    await bench.read_activity(bought(2))
    back: dict[str, Any] = {"last_purchase_at": day(2), "days_silent": 1.0}
    await bench.read_risk(assessed(3, 3, signs=[COMPLAINT], **back))
    assert [status for _, _, status, _, _ in await tasks(bench)] == ["open"]
    await bench.read_risk(assessed(4, 5, signs=[], **back))
    assert [row[2:] for row in await tasks(bench)] == [("closed", "resolved", 3)]
    assert await reported(bench) == ["opened", "updated", "closed"]
    assert [(f.kind, f.detail) for f in await outbox(bench.engine)] == [
        ("task_raised", None),
        ("task_closed", "resolved"),
    ]


async def test_joined_and_ended_in_one_batch(bench: AlertsHarness) -> None:
    await bench.read_risk(assessed(1, 0))
    await bench.read_risk(
        assessed(2, 1, signs=[SILENCE, COMPLAINT]),
        assessed(3, 2, signs=[], last_purchase_at=day(1.5), days_silent=0.5),
    )
    assert [row[2:] for row in await tasks(bench)] == [("closed", "resolved", 3)]
    assert await reported(bench) == ["opened", "updated", "closed"]


async def test_a_complaint_of_a_vip_needs_no_risk_and_a_rule_no_sign(bench: AlertsHarness) -> None:
    vip = Classification(grade="vip")
    await bench.read_risk(assessed(1, 0, "low", probability=0.02, signs=[COMPLAINT], standing=vip))
    assert [row[0] for row in await tasks(bench)] == ["complaint_open"]
    assert await rows(bench.engine, "SELECT band, grade, plan ->> 'playbook' FROM alerts.task") == [
        ("low", "vip", "vip_complaint")
    ]
    rule = {"name": "r", "when": {"lifecycles": ["at_risk"]}, "then": "raise"}
    bench.policy = read({"rules": [rule]})
    at_risk = Classification(lifecycle="at_risk")
    await bench.read_risk(
        assessed(1, 0, "low", signs=[], reasons=[], customer_id="c-2", standing=at_risk)
    )
    assert ("policy_rule", ["policy_rule"], "open", None, 1) in await tasks(bench)


async def test_after_a_verdict_the_same_cause_rests(bench: AlertsHarness) -> None:
    """The cooldown counts from the verdict, in business time."""
    bench.clock.at = day(20)
    await bench.read_risk(assessed(1, 0, signs=[COMPLAINT]))
    ((task_id,),) = await rows(bench.engine, "SELECT id FROM alerts.task")
    await bench.give_verdict()(VerdictGiven(task_id, "reached", None))
    for revision, at in ((2, 30), (4, 47), (6, 49)):
        await bench.read_risk(
            assessed(revision, at, signs=[]), assessed(revision + 1, at + 0.5, signs=[COMPLAINT])
        )
        if at < 48:
            assert len(await tasks(bench)) == 1
    assert [row[2:4] for row in await tasks(bench)] == [("closed", "verdict"), ("open", None)]


async def test_who_was_missed_gets_one_task_that_answers_why(bench: AlertsHarness) -> None:
    """R9: the win-back task starts from what an owner learned before."""
    bench.clock.at = day(1)
    high = Classification(tier="high")
    await bench.read_risk(
        assessed(1, 0, signs=[COMPLAINT], standing=high, last_purchase_at=day(-1))
    )
    ((task_id,),) = await rows(bench.engine, "SELECT id FROM alerts.task")
    await bench.give_verdict()(VerdictGiven(task_id, "leaving", None, leaving_cause="price"))
    gone: dict[str, Any] = {"standing": high, "signs": [], "last_purchase_at": day(-1)}
    await bench.read_risk(
        assessed(2, 30, days_silent=31.0, **gone), assessed(3, 40, days_silent=41.0, **gone)
    )
    found = await rows(
        bench.engine,
        "SELECT kind, suspected_leaving_cause, plan ->> 'playbook' FROM alerts.task "
        "WHERE cause = 'churned'",
    )
    assert found == [("win_back", "price", "win_back_offer")]
    ((body,),) = await rows(
        bench.engine,
        "SELECT convert_from(body, 'UTF8') FROM alerts.delivery ORDER BY seq DESC LIMIT 1",
    )
    assert '"suspected_leaving_cause":"price"' in body


async def test_points_about_to_expire_are_delivered_with_what_may_be_offered(
    bench: AlertsHarness,
) -> None:
    """The message quotes number and date, and carries the points that the playbook allows."""
    playbooks = [
        replace(each, offer_points=200) if each.id == "points_reminder" else each
        for each in bench.policy.playbooks
    ]
    bench.policy = replace(bench.policy, playbooks=playbooks)
    points = sign("points_expiring", 1.0, points_expiring=1200.0, expires_on=17531.0)
    await bench.read_risk(assessed(1, 0, signs=[points]))
    (body,) = await rows(bench.engine, "SELECT body FROM alerts.delivery")
    task = msgspec.json.decode(body[0])["data"]["task"]
    assert (task["cause"], task["playbook"]) == ("points_expiring", "points_reminder")
    assert task["reasons"][0]["text"] == "1,200 points expire on 31 December"
    assert task["offer_points"] == 200
