"""The scoring service as a process: its answers, its metrics, and operators' commands."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import httpx
import pytest

from deploy.local.stack import LocalStack
from services.scoring.core.features.registry import FEATURES
from services.scoring.model.churn_model import dumps
from services.scoring.model.store import ArtefactStore
from services.scoring.store.models import Models
from shared.contracts.risk import DECODER
from shared.http.problems import PROBLEM_JSON
from tests.fakes import activity
from tests.fakes.log import MemoryLog
from tests.fakes.model import tiny_model
from tests.integration.scoring.postgres import promoted, table
from tests.integration.scoring.running import LIMIT_S, Running, ServiceEnvironment, place, scoring

pytestmark = pytest.mark.stack

NOW = datetime.now(UTC)
AWKWARD = ("客户-七", "a/b", "a b?c#d%", "history", "x" * 256)
"""Customer ids that a path cannot contain unescaped."""


@pytest.fixture
async def made(stack: LocalStack, database_url: str) -> AsyncIterator[ServiceEnvironment]:
    """Provide topics and tables with two partitions."""
    async with place(stack, database_url, 2) as found:
        yield found


def purchase(log: MemoryLog, name: str, customer: str, days_ago: float) -> None:
    """Return a live purchase that was received when it happened."""
    at = NOW - timedelta(days=days_ago)
    value = activity.event(name, customer, at, received_ms=int(at.timestamp() * 1000))
    log.append(0, value, key=customer.encode())


async def send(made: ServiceEnvironment, service: Running, log: MemoryLog) -> None:
    """Write to the activity topic, and wait until everything is folded."""
    before = sum((await made.offsets()).values())  # the service may be faster than a query
    await made.send(log)
    await made.reached(before + len(log.records["activity", 0]))
    assert service.process.returncode is None


async def token(made: ServiceEnvironment, scope: str) -> str:
    """Return a token that is made as an operator makes one."""
    return (await made.command("tokens", "create", "--name", scope, "--scope", scope)).strip()


async def get(service: Running, path: str, token: str | None = None) -> httpx.Response:
    """Request a path; return the answer."""
    answer = await service.get(path, token)
    assert answer is not None
    return answer


async def test_a_customers_picture(made: ServiceEnvironment) -> None:
    """An event leads to features by name, assessment, profile and history, for any customer id.

    Without a token of the right scope there is no answer (R21).
    """
    log = MemoryLog("activity")
    for n, customer in enumerate(AWKWARD):
        purchase(log, f"e{n}", customer, 3)
        purchase(log, f"f{n}", customer, 1)
    log.append(0, activity.profile("p", "客户-七", NOW, name="七"))
    log.append(0, activity.interaction("i", "visitor", NOW))
    async with scoring(made) as service:
        await service.until("/readyz", 200)
        await send(made, service, log)
        good, wrong = await token(made, "customers:read"), await token(made, "events:write")
        for customer in AWKWARD:
            path = f"/v1/customers/{quote(customer, safe='')}"
            answer = await get(service, path, good)
            assert answer.status_code == 200, answer.text
            body = answer.json()
            assert body["customer_id"] == customer
            assert set(body["features"]) == {f.name for f in FEATURES}
            assert body["features"]["purchases"] == 2
            assert body["features"]["recency_days"] == pytest.approx(1, abs=0.1)
            assert body["assessment"]["method"] == "rule"
            history = (await get(service, f"{path}/history", good)).json()["items"]
            assert [item["revision"] for item in history][-1] == 1
            assert history[0]["customer_id"] == customer
        body = (await get(service, f"/v1/customers/{quote('客户-七')}", good)).json()
        assert body["profile"]["name"] == "七"
        body = (await get(service, "/v1/customers/visitor", good)).json()
        assert (body["assessment"], body["features"], body["profile"]) == (None, None, None)

        for path, key, status in (
            ("/v1/customers/nobody", good, 404),
            ("/v1/customers/a%00b", good, 422),
            (f"/v1/customers/{'x' * 257}", good, 422),
            ("/v1/customers/visitor", wrong, 403),
            ("/v1/customers/visitor", None, 401),
            ("/v1/nowhere", good, 404),
        ):
            answer = await get(service, path, key)
            assert (answer.status_code, answer.headers["Content-Type"]) == (status, PROBLEM_JSON)
        empty = (await get(service, "/v1/customers/nobody/history", good)).json()
        assert empty == {"items": [], "next": None}


async def test_the_metrics_show_records_and_lag_and_no_customer(made: ServiceEnvironment) -> None:
    """The metrics show records, results, refusals and the lag; no label contains a customer."""
    before, log = MemoryLog("activity"), MemoryLog("activity")
    before.append(0, activity.interaction("seen", "customer-0", NOW - timedelta(days=6)))
    for n in range(5):
        purchase(log, f"e{n}", f"customer-{n}", 5 - n)
    log.append(0, b"not json")
    async with scoring(made) as service:
        await service.until("/readyz", 200)
        # A prospect who buys causes a message on the changes topic: it refuses nothing.
        await send(made, service, before)
        await send(made, service, log)
        purchase_seen = 'ebbwatch_scoring_events_total{type="io.ebbwatch.purchase"} 5.0'
        no_lag = f'lag_records{{partition="0",topic="{made.topic("activity")}"}} 0.0'
        owned = "ebbwatch_scoring_partitions 2.0"
        async with asyncio.timeout(LIMIT_S):
            text = ""
            # Lag and partitions are set by loops of their own.
            while not all(line in text for line in (purchase_seen, no_lag, owned)):
                text = (await get(service, "/metrics")).text
        assert "ebbwatch_scoring_dead_letters_total 1.0" in text
        assert 'quality_flags_total{flag="profile_missing"} 6.0' in text
        assert 'quality_flags_total{flag="no_amounts"} 0.0' in text
        assert "ebbwatch_scoring_risk_messages_total 5.0" in text
        model = 'model_info{family="rule",method="rule",version="rule-2"} 1.0'
        assert f"ebbwatch_scoring_{model}" in text
        assert "customer-" not in text


async def test_a_promoted_model_serves(
    made: ServiceEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Without a restart, the next assessment uses it (R15), and it still serves after one."""
    folder = tmp_path_factory.mktemp("models")
    settings = {"MODEL_STORE": str(folder), "MODEL_POLL_S": "0.1"}
    model = tiny_model()

    async def versions(count: int) -> dict[str, str]:
        found = [DECODER.decode(r.value or b"") for r in await made.read("risk", count)]
        return {told.customer_id: told.model_version for told in found}

    async with scoring(made, **settings) as service:
        await service.until("/readyz", 200)
        log = MemoryLog("activity")
        purchase(log, "e1", "ann", 1)
        await send(made, service, log)
        digest = ArtefactStore(folder).put(dumps(model))
        await promoted(Models(made.engine), model.version, digest, NOW)
        async with asyncio.timeout(LIMIT_S):
            while model.version not in (await get(service, "/metrics")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        log = MemoryLog("activity")
        purchase(log, "e2", "bob", 1)
        await send(made, service, log)
        assert await versions(2) == {"ann": "rule-2", "bob": model.version}
        assert await service.stop() == 0
    async with scoring(made, **settings) as service:
        await service.until("/readyz", 200)
        log = MemoryLog("activity")
        purchase(log, "e3", "eve", 1)
        await send(made, service, log)
        assert (await versions(3))["eve"] == model.version
    assert "serves" in await made.command("models", "list")


async def test_a_damaged_artefact_is_no_model(
    made: ServiceEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A promoted model that cannot be read does not serve: the rule does, and `/readyz` fails.

    It names the model and what is damaged; the service starts, and goes on with the rule.
    """
    folder = tmp_path_factory.mktemp("models")
    digest = ArtefactStore(folder).put(b"{}")
    await promoted(Models(made.engine), "lgbm-x", digest, NOW)
    async with scoring(made, MODEL_STORE=str(folder)) as service:
        await service.until("/startupz", 200)
        answer = await service.until("/readyz", 503)
        async with asyncio.timeout(LIMIT_S):
            while "lgbm-x" not in answer.json()["missing"].get("model", ""):
                answer = await service.until("/readyz", 503)
        metrics = await service.get("/metrics")
        assert metrics is not None
        assert "ebbwatch_scoring_model_unusable 1.0" in metrics.text.splitlines()


async def test_operators_rewind_and_resume(made: ServiceEnvironment) -> None:
    """`partitions show`, `rewind` and `resume` work while the service runs.

    Records are read again without a second effect, and no restart is needed.
    """
    log = MemoryLog("activity")
    for n in range(20):
        purchase(log, f"e{n}", f"customer-{n}", 20 - n)
    async with scoring(made) as service:
        await service.until("/readyz", 200)
        await send(made, service, log)
        before = await table(made.engine, "customer_state")
        shown = await made.command("partitions", "show")
        assert f"{made.topic('activity')}/0" in shown
        assert "next 20" in shown
        said = await made.command(
            "partitions", "rewind", "0", "--topic", made.topic("activity"), "--offset", "3"
        )
        assert "goes on at 3" in said
        await made.reached(20)
        assert await table(made.engine, "customer_state") == before
        rows = await table(made.engine, "partition")
        assert {r["status"] for r in rows} == {"running"}
    assert len(await table(made.engine, "event")) == 20


async def test_waits_for_its_topics(made: ServiceEnvironment) -> None:
    """Started before the topics exist, the service is alive, not ready, and names what is missing.

    On SIGTERM it ends in time with status 0.
    """
    elsewhere = ServiceEnvironment(made.stack, made.database_url, made.engine, 2)
    async with scoring(elsewhere) as service:
        await service.until("/livez", 200)
        answer = await service.until("/readyz", 503)
        assert answer.json() == {"missing": {"partitions": "partitions are not claimed yet"}}
        assert await service.stop(seconds=10) == 0
