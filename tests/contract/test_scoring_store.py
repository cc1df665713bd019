"""The fake of scoring's tables passes the same suite as the real ones on PostgreSQL.

See tests/integration/scoring/test_store.py.
"""

import pytest

from tests.contract.scoring_store import StoreSuite
from tests.fakes.scoring_store import MemoryStore, Remembering


class TestMemoryStore(StoreSuite):
    """The tables in memory."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        """Returns empty tables."""
        return MemoryStore()


class TestCachingStore(StoreSuite):
    """The cache returns what is stored, also where it holds hardly any customers."""

    @pytest.fixture(params=[0, 1, 1_000])
    def store(self, request: pytest.FixtureRequest) -> Remembering:
        """Returns a cache in front of the tables in memory."""
        return Remembering(MemoryStore(), request.param)
