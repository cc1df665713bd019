"""纷享销客: both styles, one record for a task, and the meaning of every error code."""

from datetime import timedelta

import pytest

from services.alerts.connectors.core.config import FxiaokeConfig
from services.alerts.connectors.fxiaoke import api as core
from services.alerts.connectors.record_connector import RecordConnector
from shared.kernel.errors import Invalid
from tests.fakes.crm.fxiaoke import OBJECT, FakeFxiaoke
from tests.integration.crm.connector_kit import Kit
from tests.unit.alerts.connectors.notices import closed, task

STYLES = pytest.mark.parametrize("style", ["new", "old"])


@STYLES
async def test_a_task_becomes_a_record(crm: Kit, fxiaoke: FakeFxiaoke, style: str) -> None:
    sent = await crm.attempt(crm.make("fxiaoke", fxiaoke, style=style), task())
    [record] = fxiaoke.records.values()
    assert (sent.result, sent.remote_id) == ("ok", record["_id"])
    assert record["name"] == "上海示例：60%"
    assert record["owner"] == ["777"]
    assert record["churn_task_key__c"] == task().id
    assert record["due__c"] == round(task().due_at.timestamp() * 1000)


async def test_the_new_style_identifies_itself_in_headers_and_the_old_one_in_the_body(
    crm: Kit, fxiaoke: FakeFxiaoke
) -> None:
    await crm.attempt(crm.make("fxiaoke", fxiaoke, style="new"), task())
    [create] = fxiaoke.calls("/data/create")
    assert create.headers["x-fs-userid"] == "1000"
    assert set(create.json) == {"triggerApprovalFlow", "triggerWorkFlow", "data"}
    assert create.json["triggerWorkFlow"] is False
    assert create.json["data"]["object_data"]["dataObjectApiName"] == OBJECT
    crm.tokens.tokens.clear()
    await crm.attempt(crm.make("fxiaoke", fxiaoke, style="old"), task(id="rt_2"))
    create = fxiaoke.calls("/data/create")[1]
    assert create.json["currentOpenUserId"] == "1000"
    assert "authorization" not in create.headers


async def test_each_request_has_a_trace_id_of_its_own(crm: Kit, fxiaoke: FakeFxiaoke) -> None:
    await crm.attempt(crm.make("fxiaoke", fxiaoke), task())
    traces = [each.query["thirdTraceId"] for each in fxiaoke.asked]
    assert len(traces) == len(set(traces)) == 3


async def test_02_a_lost_answer_leaves_one_record(crm: Kit, fxiaoke: FakeFxiaoke) -> None:
    fxiaoke.troubles["/data/create"] = ["lost"]
    made = crm.make("fxiaoke", fxiaoke)
    assert (await crm.attempt(made, task())).result == "ambiguous"
    assert (await crm.attempt(made, task())).result == "ok"
    assert len(fxiaoke.records) == 1


@pytest.mark.parametrize(
    ("code", "result"),
    [
        (-1, "retry"),
        (30004, "retry"),
        (14001, "retry"),
        (30002, "retry"),
        (50009, "ambiguous"),
        (30003, "endpoint_dead"),
        (20021, "endpoint_dead"),
        (20022, "endpoint_dead"),
        (10006, "endpoint_dead"),
        (20017, "permanent"),
        (10013, "permanent"),
        (11111, "permanent"),
        (-7, "retry"),
    ],
)
async def test_15_http_200_with_each_class_of_code(
    crm: Kit, fxiaoke: FakeFxiaoke, code: int, result: str
) -> None:
    fxiaoke.codes.append(code)
    answer = await crm.attempt(crm.make("fxiaoke", fxiaoke), task())
    assert (answer.result, answer.status) == (result, 200)
    assert answer.error == f"Fxiaoke answered errorCode {code}"


def test_15_every_code_of_the_table_has_a_meaning() -> None:
    assert set(core.CODES.values()) == {"ok", "refresh_token", "retry", "ambiguous", "permanent",
                                   "endpoint_dead"}  # fmt: skip


@STYLES
async def test_15_an_expired_token_is_renewed_once(
    crm: Kit, fxiaoke: FakeFxiaoke, style: str
) -> None:
    made = crm.make("fxiaoke", fxiaoke, style=style)
    await crm.attempt(made, task())
    fxiaoke.expire()
    crm.clock.pass_by(timedelta(seconds=1))
    assert (await crm.attempt(made, task(id="rt_2"))).result == "ok"
    assert len(fxiaoke.calls("oken")) == 2


async def test_15_a_loop_of_20016_stops_after_one_refresh(crm: Kit, fxiaoke: FakeFxiaoke) -> None:
    made = crm.make("fxiaoke", fxiaoke)
    await crm.attempt(made, task())
    fxiaoke.accepts_tokens = False
    crm.clock.pass_by(timedelta(seconds=1))
    answer = await crm.attempt(made, task(id="rt_2"))
    assert answer.result == "retry"
    assert answer.error == "a fresh token was refused: Fxiaoke answered errorCode 20016"
    assert len(fxiaoke.calls("/data/query")) == 3
    assert len(fxiaoke.calls("/oauth2.0/token")) == 2


async def test_15_a_missing_data_id_is_no_failure_and_no_second_record(
    crm: Kit, fxiaoke: FakeFxiaoke
) -> None:
    fxiaoke.gives_id = False
    made = crm.make("fxiaoke", fxiaoke)
    assert (await crm.attempt(made, task())).result == "ok"
    again = await crm.attempt(made, task())
    assert again.remote_id == next(iter(fxiaoke.records))
    assert len(fxiaoke.records) == 1


async def test_15_an_html_answer_is_ambiguous(crm: Kit, fxiaoke: FakeFxiaoke) -> None:
    fxiaoke.troubles["/data/create"] = ["html"]
    assert (await crm.attempt(crm.make("fxiaoke", fxiaoke), task())).result == "ambiguous"


async def test_a_task_that_ends_is_closed_there(crm: Kit, fxiaoke: FakeFxiaoke) -> None:
    made = crm.make("fxiaoke", fxiaoke)
    await crm.attempt(made, task())
    assert (await crm.attempt(made, closed(task()))).result == "ok"
    [record] = fxiaoke.records.values()
    assert record["status__c"] == "closed"


async def test_the_mapping_is_checked_against_the_description(
    crm: Kit, fxiaoke: FakeFxiaoke
) -> None:
    def made(**changes: object) -> RecordConnector:
        connector = crm.make("fxiaoke", fxiaoke, **changes)
        assert isinstance(connector, RecordConnector)
        return connector

    assert await made().check() is None
    with pytest.raises(Invalid, match=r"config.fields.nope__c: object_churn__c has no such field"):
        await made(fields={"name": "x", "nope__c": "x"}).check()
    with pytest.raises(Invalid, match=r"config.fields: object_churn__c requires name"):
        await made(fields={"reasons__c": "x"}).check()


def test_a_preset_object_has_the_path_of_its_own() -> None:
    for name, path in (("AccountObj", "/cgi/crm/v2/"), (OBJECT, "/cgi/crm/custom/v2/")):
        config = FxiaokeConfig(app_id="a", user_id="1000", object_name=name)
        call = core.find_call(config, core.Session("t", "c"), "rt_1", "trace")
        assert call.path == f"{path}data/query?thirdTraceId=trace"
