"""The fake store of access tokens keeps the promises of the real one."""

import pytest

from services.alerts.connectors.ports import (
    TokenStore,
)
from tests.contract.access_tokens import AccessTokenSuite
from tests.fakes.crm.memory import MemoryTokens


class TestMemory(AccessTokenSuite):
    """In memory."""

    @pytest.fixture
    def store(self) -> TokenStore:
        return MemoryTokens()
