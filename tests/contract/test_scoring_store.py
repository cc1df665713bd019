"""The fake of scoring's tables passes the suite that the real ones pass on PostgreSQL
(tests/integration/scoring/test_store.py)."""

import pytest

from tests.contract.scoring_store import StoreSuite
from tests.fakes.store import MemoryStore


class TestMemoryStore(StoreSuite):
    """The tables in memory."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        """Empty ones."""
        return MemoryStore()
