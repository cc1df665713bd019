"""The connectors' tables: sealed and shared tokens, owners, polls, callbacks."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.connectors.core.token import Token
from services.alerts.connectors.ports import (
    Poll,
    TokenStore,
)
from services.alerts.connectors.store import (
    CallbackRows,
    OwnerRows,
    PollRows,
    TokenRows,
)
from services.alerts.delivery.store.encryption import Encryption
from tests.contract.access_tokens import AccessTokenSuite, at
from tests.integration.alerts.harness import rows
from tests.integration.alerts.message_parts import VAULT

pytestmark = pytest.mark.stack


class TestPostgres(AccessTokenSuite):
    """Run the shared suite on PostgreSQL."""

    @pytest.fixture
    def store(self, engine: AsyncEngine) -> TokenStore:
        return TokenRows(engine, VAULT)

    async def test_a_token_is_sealed(self, engine: AsyncEngine, store: TokenStore) -> None:
        await store.take_lease("crm", at(0), at(1), at(-10), 8)
        await store.end_lease("crm", 1, Token("secret-token", at(0), at(60)))
        [(sealed,)] = await rows(engine, "SELECT sealed FROM alerts.access_token")
        assert b"secret-token" not in sealed

    async def test_a_token_with_a_lost_key_is_requested_again(
        self, engine: AsyncEngine, store: TokenStore
    ) -> None:
        await store.take_lease("crm", at(0), at(1), at(-10), 8)
        await store.end_lease("crm", 1, Token("t", at(0), at(60)))
        assert await TokenRows(engine, Encryption([b"k" * 32])).read("crm", 1) is None

    async def test_one_of_many_processes_gets_the_lease(self, store: TokenStore) -> None:
        turns = await asyncio.gather(
            *(store.take_lease("crm", at(0), at(1), at(-10), 8) for _ in range(8))
        )
        assert sorted(turns) == ["busy"] * 7 + ["mine"]


async def test_an_owner_table_is_replaced_as_a_whole(engine: AsyncEngine) -> None:
    owners = OwnerRows(engine)
    await owners.replace("crm", {"o-1": "777", "o-2": "778"})
    await owners.replace("other", {"o-1": "zhangsan"})
    await owners.replace("crm", {"o-1": "779"})
    assert await owners.all_of("crm") == {"o-1": "779"}
    assert await owners.remote("crm", "o-2") is None
    assert await owners.remote("other", "o-1") == "zhangsan"


async def test_a_look_is_made_by_one_process_and_moves_on(engine: AsyncEngine) -> None:
    looks = PollRows(engine)
    first = await looks.begin("crm", at(0), at(2))
    assert first == Poll(at(0), at(2), None)
    assert await looks.begin("crm", at(1), at(3)) is None
    await looks.end("crm", Poll(at(0.5), at(2), at(99)), at(5))
    assert await looks.begin("crm", at(4), at(6)) is None
    assert await looks.begin("crm", at(5), at(7)) == Poll(at(0.5), at(7), at(99))


async def test_a_look_of_a_process_that_died_is_made_by_another(engine: AsyncEngine) -> None:
    looks = PollRows(engine)
    await looks.begin("crm", at(0), at(2))
    assert await looks.begin("crm", at(2), at(4)) == Poll(at(0), at(4), None)


async def test_a_notification_during_a_look_makes_another_look(engine: AsyncEngine) -> None:
    looks = PollRows(engine)
    look = await looks.begin("crm", at(0), at(2))
    assert look is not None
    await looks.hasten("crm", at(0) + timedelta(seconds=2))
    await looks.end("crm", look, at(5))
    assert await looks.begin("crm", at(0.1), at(3)) is not None


async def test_a_callback_is_known_once_it_was_noted(engine: AsyncEngine) -> None:
    callbacks = CallbackRows(engine)
    assert not await callbacks.seen("crm", "k")
    await callbacks.note("crm", "k", at(0))
    await callbacks.note("crm", "k", at(1))
    assert await callbacks.seen("crm", "k")
    assert not await callbacks.seen("other", "k")
