"""From feature rows to learned effects and withheld tasks, on a real database."""

import argparse
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.commands.effect import _learned, _show, _withheld
from services.alerts.commands.propose_holdout import _propose
from services.alerts.core.holdout import drawn
from services.alerts.core.policy_document import read
from services.alerts.core.uplift.subjects import COLUMNS
from services.alerts.handlers.learn_effects import LearnEffects
from services.alerts.inbound.http import add_routes
from services.alerts.store import effects as effect_store
from services.alerts.store import erasure as erasure_store
from services.alerts.store.policies import Policies
from services.alerts.store.tables import api_token
from services.alerts.store.uplift_fits import UpliftFits
from shared.contracts import events, risk
from shared.contracts.activity import Activity, ActivityData
from shared.contracts.feature_row import VERSION, FeatureRow
from shared.http.access import Tokens
from shared.http.app import create_app
from shared.postgres.engine import unit_of_work
from shared.runtime.health import Health
from tests.integration.alerts.harness import AlertsHarness, rows
from tests.unit.alerts.samples import assessed, day

pytestmark = pytest.mark.stack

SHARE = 0.4
CUSTOMERS = [f"c-{n:04}" for n in range(2_400)]
PAGE = 600
"""Assessments read at once."""
BACK = {(True, True): 7, (True, False): 3, (False, True): 2, (False, False): 6}
"""Of ten customers, how many buy again, by (helped by a task, treated)."""


def features(*, helped: bool, number: int = 0) -> FeatureRow:
    """Return the features of a customer whom a task helps: silent for long; or drives away."""
    silent = (60.0 if helped else 4.0) + number % 3
    return FeatureRow(VERSION, [silent, None, *[1.0 + number % 7] * (len(COLUMNS) - 2)])


@pytest.fixture
async def bench(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AlertsHarness]:
    """Provide measured trials of 80 days: tasks help half of the customers, and harm the others."""
    monkeypatch.setenv("EBBWATCH_ALERTS_CLOCK", "replay")
    async with AlertsHarness(engine) as made:
        made.policy = read({"name": "test", "holdout": {"share": SHARE}})
        async with unit_of_work(engine) as work:
            await Policies().put(work, made.policy, "ann", day(0))
        warned = [
            assessed(
                1, 80 * n / len(CUSTOMERS), customer_id=c,
                feature_row=features(helped=n % 2 == 0, number=n),
            )
            for n, c in enumerate(CUSTOMERS)
        ]  # fmt: skip
        for begin in range(0, len(warned), PAGE):
            await made.read_risk(*warned[begin : begin + PAGE])
        back = [
            Activity(
                specversion="1.0", id=c, source="/t", type=events.PURCHASE,
                time=day(80 * n / len(CUSTOMERS) + 5), subject=c, data=ActivityData(amount=10.0),
            )
            for n, c in enumerate(CUSTOMERS)
            if n // 2 % 10 < BACK[n % 2 == 0, not drawn("test", c, SHARE)]
        ]  # fmt: skip
        await made.read_activity(
            *back, Activity(specversion="1.0", id="t", source="/t", type=events.TICK, time=day(130))
        )
        made.clock.at = day(130)
        await made.tend().iterate()
        yield made


def command(**values: object) -> argparse.Namespace:
    return argparse.Namespace(**{"limit": 10, "days": 28, "policy": None} | values)


async def test_from_trials_to_a_withheld_task(
    bench: AlertsHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was planted is learned: the helped get a task and a reason, the harmed get none."""
    ((note, policy),) = await rows(bench.engine, "SELECT note, policy FROM alerts.uplift_fit")
    assert policy == "test"
    assert note.startswith("Customers' own effects serve, from 2,400 measured trials")
    before = await rows(bench.engine, "SELECT count(*) FROM alerts.task")
    new = [f"new-{n}" for n in range(20) if not drawn("test", f"new-{n}", SHARE)]
    message = [
        assessed(1, 130, customer_id=c, feature_row=features(helped=n % 2 == 0))
        for n, c in enumerate(new)
    ]
    await bench.read_risk(*message)
    tasks = await rows(
        bench.engine,
        "SELECT customer_id, reasons, worth FROM alerts.task WHERE customer_id LIKE 'new-%' "
        "ORDER BY customer_id",
    )
    assert [customer for customer, _, _ in tasks] == sorted(new[::2])
    assert {reasons[-1]["code"] for _, reasons, _ in tasks} == {"responds"}
    assert all(0.3 * m.expected_value < worth < 0.7 * m.expected_value
               for (_, _, worth), m in zip(tasks, message, strict=False))  # fmt: skip
    assert len(tasks) + before[0][0] == (await rows(
        bench.engine, "SELECT count(*) FROM alerts.task"))[0][0]  # fmt: skip
    await bench.read_risk(assessed(2, 131, customer_id=new[1], feature_row=features(helped=False)))
    shown = "SELECT customer_id, cause, times, first_at, at, high <= 0 FROM alerts.withheld_task"
    found = {row[0]: row[1:] for row in await rows(bench.engine, shown)}
    assert found.keys() == set(new[1::2])
    assert found[new[1]] == ("silence_beyond_rhythm", 2, day(130), day(131), True)
    assert await _withheld(command(limit=2), bench.engine) == 0
    assert await _learned(command(), bench.engine) == 0
    assert await _show(command(), bench.engine) == 0
    out = capsys.readouterr().out
    assert f"{len(new[1::2])} tasks withheld in 28 days" in out
    assert f"{new[1]}  silence_beyond_rhythm  any: -" in out
    assert "customers' own effects" in out


async def test_an_erased_customer_leaves_no_features(bench: AlertsHarness) -> None:
    """The trial counts on for the rate, and nothing is known of the customer any more."""
    await bench.read_risk(
        *(assessed(1, 130, customer_id=f"x-{n}", feature_row=features(helped=False))
          for n in range(9))
    )  # fmt: skip
    async with unit_of_work(bench.engine) as work:
        learned = len(await effect_store.uplift_subjects(work, "test"))
        for customer in (CUSTOMERS[0], *(f"x-{n}" for n in range(9))):
            await erasure_store.forget(work, customer)
        assert len(await effect_store.uplift_subjects(work, "test")) == learned - 1
    assert await rows(bench.engine, "SELECT count(*) FROM alerts.withheld_task") == [(0,)]
    kept = (
        "SELECT features, feature_version, measured_at IS NOT NULL FROM alerts.trial "
        "WHERE customer_id LIKE 'erased-%'"
    )
    assert await rows(bench.engine, kept) == [(None, None, True)]


async def test_it_learns_again_only_from_enough_new_trials(bench: AlertsHarness) -> None:
    """Two processes that fit at once store one fit."""
    count = "SELECT count(*) FROM alerts.uplift_fit"
    bench.clock.at = day(140)
    await bench.tend().iterate()
    assert await rows(bench.engine, count) == [(1,)]
    async with unit_of_work(bench.engine) as work:
        (stored,) = await UpliftFits().newest(work, "test", 5)
        again = [
            await UpliftFits().put(
                work, "test", stored.fit, "again", after=stored.version, at=day(1),
                recorded_at=day(1),
            )
            for _ in range(2)
        ]  # fmt: skip
    assert again == [stored.version + 1, None]
    assert await rows(bench.engine, count) == [(2,)]
    step = bench.tend().more["effects"]
    assert isinstance(step, LearnEffects)
    await step(day(140))
    assert step.checked_at == day(140)
    await step(day(139))  # a clock that was set back
    assert step.checked_at == day(139)


async def test_the_page_and_the_api_show_what_was_learned(bench: AlertsHarness) -> None:
    tokens = Tokens(bench.engine, api_token, bench.clock)
    token = await tokens.create("ann", ["customers:read"])
    app = create_app("test", Health(bench.clock))
    add_routes(app, bench.parts(tokens))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://alerts",
        headers={"authorization": f"Bearer {token}"},
    ) as client:
        found = (await client.get("/v1/effect")).json()
        assert found["learned"]["decision"] == "serves"
        assert (found["learned"]["trials"], found["withheld"]) == (2_400, 0)
        for language, curve in (("en", "Qini curve"), ("zh-CN", "Qini 曲线")):
            page = (await client.get(f"/v1/effect/report?language={language}")).text
            assert curve in page


async def test_a_holdout_is_proposed_from_the_warnings_so_far(
    bench: AlertsHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = {"effect": 0.1, "weeks": 52.0, "days": 200, "per_week": None, "return_rate": None}
    assert await _propose(command(**wanted), bench.engine) == 0
    out = capsys.readouterr().out
    assert "129.2 customers a week" in out
    assert "measured on" in out
    assert "Proposed: holdout: {share: " in out
    assert await _propose(command(**wanted | {"weeks": 1.0}), bench.engine) == 0
    assert "No share gives an answer within 1 weeks" in capsys.readouterr().out
    assert await _propose(command(**wanted | {"days": 1}), bench.engine) == 1
    assert "--per-week" in capsys.readouterr().err
    for name, wrong in (("effect", 0.0), ("return_rate", 2.0), ("per_week", -1.0), ("weeks", 0.0)):
        assert await _propose(command(**wanted | {name: wrong}), bench.engine) == 1
        assert f"--{name.replace('_', '-')} must be" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["[1]", "[0,[]]", "[1,[1e300]]", '[1,["a"]]', "{}"])
async def test_a_hostile_feature_row_is_a_dead_letter(engine: AsyncEngine, value: str) -> None:
    plain = risk.ENCODER.encode(assessed(1, 130, customer_id="hostile"))
    begin = b'{"customer_id"'
    record = plain.replace(begin, b'{"feature_row":' + value.encode() + b"," + begin[1:])
    assert msgspec.json.decode(record)["feature_row"] is not None
    async with AlertsHarness(engine) as made:
        await made.assess()(await made.batch("risk", [record, plain]))
    # The record without it is read.
    ((message,),) = await rows(engine, "SELECT message FROM alerts.assessment")
    assert b"feature_row" not in message
