"""Zoho CRM: tasks created once, whatever is lost, and the meaning of every code."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from services.alerts.connectors.core.config import ZohoConfig
from services.alerts.connectors.record_connector import RecordConnector
from services.alerts.connectors.zoho import api as core
from services.alerts.delivery.core.retry import Reply
from shared.kernel.errors import Invalid
from tests.fakes.crm.serving import answer as json_answer
from tests.fakes.crm.zoho import FakeZoho
from tests.integration.crm.connector_kit import SECRETS, Kit
from tests.unit.alerts.connectors.notices import closed, task


def records(made: Any) -> RecordConnector:
    assert isinstance(made, RecordConnector)
    return made


async def test_a_task_becomes_a_record_of_its_owner(crm: Kit, zoho: FakeZoho) -> None:
    sent = await crm.attempt(crm.make("zoho", zoho), task())
    [record] = zoho.records.values()
    assert (sent.result, sent.remote_id) == ("ok", record["id"])
    assert record["Subject"] == "上海示例: 60 %"
    assert record["Due_Date"] == "2017-10-05"
    assert record["Owner"] == {"id": "777"}
    assert (record["What_Id"], record["$se_module"]) == ({"id": "c-1"}, "Accounts")
    assert record["Churn_Task_Key"] == task().id
    assert zoho.calls("/Tasks")[0].json["trigger"] == []


async def test_our_own_account_key_goes_as_an_external_field(crm: Kit, zoho: FakeZoho) -> None:
    made = crm.make("zoho", zoho, about_key="Customer_No")
    await crm.attempt(made, task())
    [create] = [c for c in zoho.calls("/Tasks") if c.method == "POST"]
    assert create.headers["x-external"] == "Tasks.What_Id->Accounts.Customer_No"
    assert create.json["data"][0]["What_Id"] == {"Customer_No": "c-1"}


async def test_a_task_that_ends_is_completed_there(crm: Kit, zoho: FakeZoho) -> None:
    made = crm.make("zoho", zoho)
    await crm.attempt(made, task())
    assert (await crm.attempt(made, closed(task()))).result == "ok"
    [record] = zoho.records.values()
    assert record["Status"] == "Completed"


async def test_a_task_that_ended_before_it_was_created_is_not_created(
    crm: Kit, zoho: FakeZoho
) -> None:
    assert (await crm.attempt(crm.make("zoho", zoho), closed(task()))).result == "ok"
    assert zoho.records == {}


@pytest.mark.parametrize("unique", [True, False])
async def test_02_a_lost_answer_leaves_one_record(
    crm: Kit, zoho: FakeZoho, *, unique: bool
) -> None:
    zoho.unique = unique
    zoho.troubles["/Tasks"] = ["lost"]
    made = crm.make("zoho", zoho)
    assert (await crm.attempt(made, task())).result == "ambiguous"
    again = await crm.attempt(made, task())
    [record] = zoho.records.values()
    assert (again.result, again.remote_id) == ("ok", record["id"])


async def test_14_a_2xx_with_an_error_record_is_a_failure(crm: Kit, zoho: FakeZoho) -> None:
    made = crm.make("zoho", zoho, fields={"Priority": "High"})
    refused = await crm.attempt(made, task())
    assert (refused.result, refused.status) == ("permanent", 202)
    assert refused.error == "Zoho answered MANDATORY_NOT_FOUND for $.data[0].Subject"


@pytest.mark.parametrize(
    ("status", "code", "result"),
    [
        (202, "INVALID_DATA", "permanent"),
        (403, "NO_PERMISSION", "permanent"),
        (401, "OAUTH_SCOPE_MISMATCH", "endpoint_dead"),
        (400, "INVALID_MODULE", "endpoint_dead"),
        (202, "RECORD_LOCKED", "retry"),
        (202, "LIMIT_EXCEEDED", "retry"),
        (429, "TOO_MANY_REQUESTS", "retry"),
        (412, "ALREADY_MODIFIED", "retry"),
        (500, "INTERNAL_ERROR", "ambiguous"),
        (200, "SOMETHING_NEW", "retry"),
    ],
)
async def test_14_each_code_is_read_as_what_it_means(
    crm: Kit, zoho: FakeZoho, status: int, code: str, result: str
) -> None:
    zoho.refusals.append((status, {"code": code}))
    assert (await crm.attempt(crm.make("zoho", zoho), task())).result == result


async def test_14_in_a_mixed_batch_each_record_has_its_own_outcome(zoho: FakeZoho) -> None:
    """The fake answers a batch as Zoho does.

    We send one record per request, so that a refused one is never hidden by another's success.
    """
    outcomes = [zoho._created({"Subject": "a"}), zoho._created({}), zoho._created({"Subject": "b"})]
    body = json_answer({"data": [outcome for _, outcome in outcomes]}).body
    assert isinstance(body, bytes)
    read = [core.read(Reply(status, body=_one(outcome))).result for status, outcome in outcomes]
    assert read == ["ok", "permanent", "ok"]


def _one(outcome: dict[str, Any]) -> bytes:
    body = json_answer({"data": [outcome]}).body
    assert isinstance(body, bytes)
    return body


async def test_14_a_duplicate_is_a_task_that_has_been_delivered(crm: Kit, zoho: FakeZoho) -> None:
    """Holds also where the query did not find the record yet."""
    made = crm.make("zoho", zoho)
    zoho.refusals.append(
        (202, {"code": "DUPLICATE_DATA", "details": {"duplicate_record": {"id": "55"}}})
    )
    sent = await crm.attempt(made, task())
    assert (sent.result, sent.remote_id) == ("ok", "55")


async def test_14_an_expired_token_is_renewed_once_for_all_who_meet_it(
    crm: Kit, zoho: FakeZoho
) -> None:
    """Two processes make five attempts each, all with a token that has just expired."""
    made = [crm.make("zoho", zoho), crm.make("zoho", zoho)]
    for each in made:
        await crm.attempt(each, task(id="rt_first"))
    zoho.expire()
    crm.clock.pass_by(timedelta(seconds=1))
    before = len(zoho.calls("/oauth"))
    several = [task(id=f"rt_{n}") for n in range(10)]
    sent = await asyncio.gather(*(crm.attempt(made[n % 2], t) for n, t in enumerate(several)))
    assert {each.result for each in sent} == {"ok"}
    assert len(zoho.calls("/oauth")) - before == 1


async def test_14_token_requests_keep_to_the_vendors_limit(crm: Kit, zoho: FakeZoho) -> None:
    """A token expires repeatedly: at most eight requests in ten minutes, then waiting."""
    made = crm.make("zoho", zoho)
    results = []
    for number in range(12):
        zoho.expire()
        crm.clock.pass_by(timedelta(seconds=1))
        results.append((await crm.attempt(made, task(id=f"rt_{number}"))).result)
    assert len(zoho.calls("/oauth")) == 8
    assert results == ["ok"] * 8 + ["retry"] * 4
    crm.clock.pass_by(timedelta(minutes=10))
    assert (await crm.attempt(made, task(id="rt_later"))).result == "ok"


async def test_a_token_is_replaced_before_it_ends(crm: Kit, zoho: FakeZoho) -> None:
    made = crm.make("zoho", zoho)
    await crm.attempt(made, task(id="rt_1"))
    crm.clock.pass_by(timedelta(seconds=3590))
    await crm.attempt(made, task(id="rt_2"))
    assert len(zoho.calls("/oauth")) == 2


async def test_wrong_credentials_switch_the_endpoint_off(
    crm: Kit, zoho: FakeZoho, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SECRETS, "zoho", {**SECRETS["zoho"], "client_secret": "of another"})
    refused = await crm.attempt(crm.make("zoho", zoho), task())
    assert refused.result == "endpoint_dead"
    assert refused.error == "Zoho gave no access token: invalid_client"


async def test_an_answer_that_is_not_zohos_is_ambiguous(crm: Kit, zoho: FakeZoho) -> None:
    zoho.troubles["/Tasks"] = ["html"]
    assert (await crm.attempt(crm.make("zoho", zoho), task())).result == "ambiguous"


async def test_a_lost_look_is_simply_made_again(crm: Kit, zoho: FakeZoho) -> None:
    zoho.troubles["/coql"] = ["html"]
    made = crm.make("zoho", zoho)
    assert (await crm.attempt(made, task())).result == "retry"
    assert zoho.records == {}
    assert (await crm.attempt(made, task())).result == "ok"


async def test_an_owner_without_a_row_goes_to_the_fallback_or_fails(
    crm: Kit, zoho: FakeZoho
) -> None:
    crm.owners.rows.clear()
    refused = await crm.attempt(crm.make("zoho", zoho), task())
    assert refused.result == "permanent"
    assert "owner: the owner 'o-1' has no row in the endpoint's owner table" in (
        refused.error or ""
    )
    assert (await crm.attempt(crm.make("zoho", zoho, fallback_owner="9"), task())).result == "ok"
    [record] = zoho.records.values()
    assert record["Owner"] == {"id": "9"}


async def test_ids_that_are_the_crms_own_need_no_table(crm: Kit, zoho: FakeZoho) -> None:
    await crm.attempt(crm.make("zoho", zoho, owner_ids="same"), task())
    [record] = zoho.records.values()
    assert record["Owner"] == {"id": "o-1"}


async def test_the_mapping_is_checked_against_the_description(crm: Kit, zoho: FakeZoho) -> None:
    assert await records(crm.make("zoho", zoho)).check() is None
    for wrong, message in (
        ({"fields": {"Subject": "x", "Titel": "x"}}, "config.fields.Titel: Tasks has no such"),
        ({"fields": {"Priority": "High"}}, "config.fields: Tasks requires Subject"),
        ({"key_field": "No_Such"}, "config.key_field: Tasks has no field No_Such"),
        (
            {"verdicts": [{"field": "Nope", "value": "x", "verdict": "reached"}]},
            "config.verdicts: Tasks has no field Nope",
        ),
    ):
        with pytest.raises(Invalid, match=message):
            await records(crm.make("zoho", zoho, **wrong)).check()


async def test_changes_come_oldest_first_page_by_page(crm: Kit, zoho: FakeZoho) -> None:
    made = records(crm.make("zoho", zoho))
    for number in range(core.PAGE_ROWS + 3):
        zoho.now += timedelta(seconds=1)
        zoho._created({"Subject": "s", "Churn_Task_Key": f"rt_{number:04}"})
    zoho.records["1"] = {"id": "1", "Subject": "not ours", "Modified_Time": zoho.now.isoformat()}
    found = await made.changes(zoho.now - timedelta(seconds=core.PAGE_ROWS + 1))
    assert isinstance(found, list)
    assert [each.key for each in found] == [f"rt_{n:04}" for n in range(1, core.PAGE_ROWS + 3)]


def test_a_key_cannot_break_out_of_its_query() -> None:
    call = core.find_call(ZohoConfig(client_id="c"), "x' or id > '0")
    assert rb"= 'x\\' or id > \\'0'" in call.body
