"""The fake store of access tokens gives the same guarantees as the real one."""

import pytest

from services.alerts.connectors.ports import (
    TokenStore,
)
from tests.contract.access_tokens import AccessTokenSuite
from tests.fakes.crm.memory import MemoryTokens


class TestMemory(AccessTokenSuite):
    """The store in memory."""

    @pytest.fixture
    def store(self) -> TokenStore:
        return MemoryTokens()
