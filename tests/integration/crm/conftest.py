"""Fakes of CRMs and a connector kit for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.crm.fxiaoke import FakeFxiaoke
from tests.fakes.crm.serving import serving
from tests.fakes.crm.wecom import FakeWecom
from tests.fakes.crm.zoho import FakeZoho
from tests.integration.crm.connector_kit import Kit, kit


@pytest.fixture
async def crm() -> AsyncIterator[Kit]:
    """Provide the context that connectors share."""
    async with kit() as made:
        yield made


@pytest.fixture
async def zoho() -> AsyncIterator[FakeZoho]:
    """Serve a fake Zoho CRM."""
    fake = FakeZoho()
    async with serving(fake):
        yield fake


@pytest.fixture
async def fxiaoke() -> AsyncIterator[FakeFxiaoke]:
    """Serve a fake Fxiaoke."""
    fake = FakeFxiaoke()
    async with serving(fake):
        yield fake


@pytest.fixture
async def wecom() -> AsyncIterator[FakeWecom]:
    """Serve a fake WeCom."""
    fake = FakeWecom()
    async with serving(fake):
        yield fake
