"""Changes in CRMs that keep records: what owners do there becomes one verdict.

The tests run on a real database, with the CRMs on loopback and the callbacks over HTTP.
"""

import asyncio
import logging
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.connectors import poll_changes
from services.alerts.connectors.store import PollRows
from services.alerts.connectors.zoho import api as zoho_core
from services.alerts.delivery.core.endpoint import Kind
from shared.contracts.events import Owner, Profile
from shared.runtime.service import Stop
from tests.fakes.crm.fxiaoke import FakeFxiaoke
from tests.fakes.crm.wecom import FakeWecom
from tests.fakes.crm.zoho import FakeZoho
from tests.integration.alerts.crm_scenario import VERDICTS, office, pass_by
from tests.integration.alerts.harness import rows
from tests.integration.crm.connector_kit import SECRETS
from tests.unit.alerts.connectors.notices import leased
from tests.unit.alerts.samples import raised_task

pytestmark = pytest.mark.stack


async def test_18_a_missed_notification_costs_minutes_and_loses_nothing(
    engine: AsyncEngine,
) -> None:
    """The watch expires, Zoho sends no notification, and the sweep recovers the outcome."""
    fake = FakeZoho()
    async with office(engine, "zoho", fake) as place:
        await place.look.iterate()
        task = await place.deliver()
        pass_by(place, fake, days=8)  # longer than the life of any channel
        [remote_id] = fake.records
        fake.touch(remote_id, Status="Completed")
        pass_by(place, fake, minutes=1)
        await place.look.iterate()
        assert await rows(engine, VERDICTS) == [(task, "closed", "action_taken")]
        assert len(fake.channels) == 2, "the channel was opened anew"


async def test_a_notification_makes_the_look_come_sooner(engine: AsyncEngine) -> None:
    fake = FakeZoho()
    async with office(engine, "zoho", fake) as place:
        await place.look.iterate()
        await place.deliver()
        [remote_id] = fake.records
        pass_by(place, fake, seconds=10)
        fake.touch(remote_id, Churn_Outcome="Lost")
        await place.look.iterate()
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [(None,)], "not due yet"
        path = fake.channels[-1]["notify_url"].removeprefix("https://churn.example.com")
        heard = await place.client.post(path, json=fake.notification(remote_id))
        assert (heard.status_code, place.rung.is_set()) == (204, True)
        pass_by(place, fake, seconds=2)
        await place.look.iterate()
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [("leaving",)]


async def test_17_a_notification_is_not_believed_but_read(engine: AsyncEngine) -> None:
    """The notification claims a change of the record, and the record shows none."""
    fake = FakeZoho()
    async with office(engine, "zoho", fake) as place:
        await place.look.iterate()
        await place.deliver()
        [remote_id] = fake.records
        path = fake.channels[-1]["notify_url"].removeprefix("https://churn.example.com")
        reported = fake.notification(remote_id) | {
            "affected_values": [{"record_id": remote_id, "values": {"Status": "Completed"}}]
        }
        assert (await place.client.post(path, json=reported)).status_code == 204
        pass_by(place, fake, seconds=2)
        await place.look.iterate()
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [(None,)]


async def test_17_a_notification_without_proof_is_refused(engine: AsyncEngine) -> None:
    fake = FakeZoho()
    async with office(engine, "zoho", fake) as place:
        await place.look.iterate()
        token = SECRETS["zoho"]["callback_token"]
        secret = zoho_core.path_secret("crm", token)
        for path, content in (
            (f"crm/{secret}", {"token": "wrong"}),
            (f"crm/{secret}", {}),
            (f"crm/{secret}", ["token"]),
            ("crm/wrong", {"token": token}),
            (f"nobody/{secret}", {"token": token}),
        ):
            refused = await place.client.post(f"/v1/callbacks/zoho/{path}", json=content)
            assert refused.status_code == 403, path
            assert token not in refused.text
        huge = await place.client.post(f"/v1/callbacks/zoho/crm/{secret}", content=b"x" * 70_000)
        assert huge.status_code == 413
        assert not place.rung.is_set()


async def test_fxiaoke_is_asked_for_changes(engine: AsyncEngine) -> None:
    fake = FakeFxiaoke()
    async with office(engine, "fxiaoke", fake) as place:
        await place.look.iterate()
        task = await place.deliver()
        [remote_id] = fake.records
        pass_by(place, fake, minutes=6)
        fake.touch(remote_id, outcome__c="lost")
        await place.look.iterate()
        assert await rows(engine, VERDICTS) == [(task, "closed", "leaving")]


async def test_a_change_read_twice_changes_nothing(engine: AsyncEngine) -> None:
    fake = FakeZoho()
    async with office(engine, "zoho", fake) as place:
        await place.look.iterate()
        await place.deliver()
        [remote_id] = fake.records
        fake.touch(remote_id, Status="Completed")
        for _ in range(3):
            pass_by(place, fake, minutes=1)
            await PollRows(engine).hasten("crm", place.bench.clock.now())
            await place.look.iterate()
        assert await rows(engine, "SELECT version, verdict FROM alerts.task") == [
            (2, "action_taken")
        ]
        fake.touch(remote_id, Churn_Outcome="Lost")  # a later change of mind does not count
        pass_by(place, fake, minutes=6)
        await place.look.iterate()
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [("action_taken",)]


async def test_a_crm_that_is_away_is_asked_from_where_we_were(engine: AsyncEngine) -> None:
    fake = FakeZoho()
    async with office(engine, "zoho", fake) as place:
        await place.look.iterate()
        await place.deliver()
        [remote_id] = fake.records
        fake.touch(remote_id, Status="Completed")
        fake.troubles["/coql"] = ["html"] * 3
        for _ in range(3):
            pass_by(place, fake, minutes=6)
            await place.look.iterate()
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [(None,)]
        fake.expire()
        pass_by(place, fake, minutes=6)
        await place.look.iterate()
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [("action_taken",)]


async def test_an_unusable_endpoint_is_switched_off_and_the_others_go_on(
    engine: AsyncEngine,
) -> None:
    """The endpoint's stored config does not fit this version, or a secret is missing."""
    async with office(engine, "zoho", FakeZoho()) as place:
        for broken in (replace(place.endpoint, config={"old": 1}, version=2),
                       replace(place.endpoint, secrets=(), version=3)):  # fmt: skip
            connector = place.connectors.of(broken)
            answer = await connector.send(leased(raised_task()), place.bench.clock.now())
            assert answer.result == "endpoint_dead"
            assert (answer.error or "").startswith(("config.", "secrets."))
            place.stored.endpoints["crm"] = broken
            await PollRows(engine).hasten("crm", place.bench.clock.now())
            await place.look.iterate()


async def test_a_clock_that_is_ahead_there_hides_no_later_change(engine: AsyncEngine) -> None:
    fake = FakeZoho()
    async with office(engine, "zoho", fake) as place:
        await place.look.iterate()
        await place.deliver()
        [remote_id] = fake.records
        fake.touch(remote_id, Subject="read again")
        fake.records[remote_id]["Modified_Time"] = "2031-01-01T00:00:00+00:00"
        pass_by(place, fake, minutes=6)
        await place.look.iterate()
        fake.touch(remote_id, Status="Completed")
        pass_by(place, fake, minutes=6)
        await place.look.iterate()
        assert await rows(engine, "SELECT verdict FROM alerts.task") == [("action_taken",)]


async def test_a_crm_that_hangs_does_not_hold_up_the_end_of_the_service(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll_changes, "DRAIN_S", 0.1)
    fake = FakeZoho(troubles={"/coql": ["hang"]})
    async with office(engine, "zoho", fake, timeout_s=100.0) as place:
        stop = Stop()
        loop = asyncio.create_task(place.look(stop))
        await fake.hanging.wait()
        stop.set()
        async with asyncio.timeout(30.0):  # the request alone would take 100 s
            await loop
        pass_by(place, fake, minutes=3)
        assert await PollRows(engine).begin("crm", fake.now, fake.now) is not None


@pytest.mark.parametrize("kind", ["zoho", "fxiaoke", "wecom_app", "wecom_bot"])
async def test_19_no_secret_or_bot_key_in_any_log(
    engine: AsyncEngine,
    kind: Kind,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Checks logs, answers and tables through normal days and each kind of failure."""
    caplog.set_level(logging.DEBUG)
    fakes = {"zoho": FakeZoho, "fxiaoke": FakeFxiaoke, "wecom_app": FakeWecom,
             "wecom_bot": FakeWecom}  # fmt: skip
    fake: Any = fakes[kind]()
    answers = []
    async with office(engine, kind, fake) as place:
        connector = place.connectors.of(place.endpoint)
        await place.deliver()
        for trouble in ("html", "drop", "lost"):
            for part in ("/Tasks", "/data/create", "/message/send", "/webhook/send", "/coql"):
                fake.troubles[part] = [trouble]
            task = raised_task(Profile(owner=Owner(id="o-1")))
            task = msgspec.structs.replace(task, id=f"rt_{trouble}")
            answers.append(await connector.send(leased(task), place.bench.clock.now()))
            pass_by(place, fake, minutes=6)
            await place.look.iterate()
        unknown = replace(place.endpoint, secrets=())
        assert all(secret not in repr(unknown) for secret in SECRETS[kind].values())
        assert all(secret not in repr(place.endpoint) for secret in SECRETS[kind].values())
        tokens = [t for t in getattr(fake, "tokens", []) if t != "expired"]
    shown = caplog.text + "".join(capsys.readouterr()) + repr(answers)
    assert any(each.result != "ok" for each in answers)
    for secret in [*SECRETS[kind].values(), *tokens]:
        assert secret not in shown
