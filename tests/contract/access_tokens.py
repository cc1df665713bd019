"""The guarantees of every store of access tokens to the processes that share it."""

from datetime import UTC, datetime, timedelta

from services.alerts.connectors.core.token import Token
from services.alerts.connectors.ports import (
    TokenStore,
)

T0 = datetime(2026, 3, 1, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def at(minutes: float) -> datetime:
    return T0 + minutes * MINUTE


class AccessTokenSuite:
    """Tests of a token store; a subclass provides `store`."""

    async def test_there_is_nothing_at_first(self, store: TokenStore) -> None:
        assert await store.read("crm", 1) is None

    async def test_a_token_is_read_as_it_was_written(self, store: TokenStore) -> None:
        token = Token("secret-token", at(0), at(60))
        assert await store.take_lease("crm", at(0), at(1), at(-10), 8) == "mine"
        await store.end_lease("crm", 1, token)
        assert await store.read("crm", 1) == token
        assert await store.read("other", 1) is None

    async def test_a_token_of_another_version_is_none(self, store: TokenStore) -> None:
        await store.take_lease("crm", at(0), at(1), at(-10), 8)
        await store.end_lease("crm", 1, Token("t", at(0), at(60)))
        assert await store.read("crm", 2) is None

    async def test_a_turn_is_one_processs_until_it_ends(self, store: TokenStore) -> None:
        assert await store.take_lease("crm", at(0), at(1), at(-10), 8) == "mine"
        assert await store.take_lease("crm", at(0.5), at(2), at(-9), 8) == "busy"
        assert await store.take_lease("other", at(0.5), at(2), at(-9), 8) == "mine"
        await store.end_lease("crm", 1, None)
        assert await store.take_lease("crm", at(0.6), at(2), at(-9), 8) == "mine"

    async def test_a_turn_of_a_process_that_died_runs_out(self, store: TokenStore) -> None:
        assert await store.take_lease("crm", at(0), at(1), at(-10), 8) == "mine"
        assert await store.take_lease("crm", at(1), at(2), at(-9), 8) == "mine"

    async def test_token_requests_in_a_window_are_limited(self, store: TokenStore) -> None:
        for minute in (0, 1, 2):
            assert await store.take_lease("crm", at(minute), at(20), at(minute - 10), 3) == "mine"
            await store.end_lease("crm", 1, None)
        assert await store.take_lease("crm", at(3), at(20), at(-7), 3) == "spent"
        assert await store.take_lease("crm", at(10.5), at(20), at(0.5), 3) == "mine"
