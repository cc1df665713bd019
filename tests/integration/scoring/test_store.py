"""Scoring's tables on PostgreSQL pass the suite that their fake passes (tests/contract)."""

import pytest

from tests.contract.scoring_store import StoreSuite

pytestmark = pytest.mark.stack


class TestTurnStore(StoreSuite):
    """The fixture `store` is the real one."""
