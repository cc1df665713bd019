"""The fake of scoring's tables passes the suite that the real ones pass on PostgreSQL
(tests/integration/scoring/test_store.py)."""

import pytest

from tests.contract.scoring_store import StoreSuite
from tests.fakes.store import MemoryStore, Remembering


class TestMemoryStore(StoreSuite):
    """The tables in memory."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        """Empty ones."""
        return MemoryStore()


class TestCachingStore(StoreSuite):
    """What is remembered is what is stored, also where hardly anybody fits."""

    @pytest.fixture(params=[0, 1, 1_000])
    def store(self, request: pytest.FixtureRequest) -> Remembering:
        """In front of the tables in memory."""
        return Remembering(MemoryStore(), request.param)
