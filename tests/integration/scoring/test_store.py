"""Scoring's tables on PostgreSQL pass the same suite as their fake (tests/contract)."""

import pytest

from tests.contract.scoring_store import StoreSuite

pytestmark = pytest.mark.stack


class TestTurnStore(StoreSuite):
    """Run the suite with the real store as the fixture `store`."""
