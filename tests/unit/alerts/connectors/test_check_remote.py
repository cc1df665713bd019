"""No secret is sent to an address that is refused."""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.alerts.connectors.check_remote import Described
from services.alerts.connectors.context import ConnectorContext
from services.alerts.connectors.registry import check
from services.alerts.delivery.core.endpoint import Endpoint
from services.alerts.delivery.core.retry import Reply
from services.alerts.delivery.http_client import Http
from shared.kernel.errors import Invalid
from tests.fakes.clock import SetClock

SECRETS = {"client_secret": "s", "refresh_token": "r"}
CONFIG = {"client_id": "c", "accounts_url": "https://a.example", "api_url": "https://b.example"}


class Noted:
    """An HTTP client that records what would be sent."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    async def send(self, method: str, url: str, *_: Any, **__: Any) -> Reply:
        """Record the request and fail as if no server answered."""
        self.urls.append(url)
        return Reply(None, error="nobody is there", reached=False)


async def asked(config: Mapping[str, Any], *, https_only: bool) -> list[str]:
    """Return the addresses that a check of an endpoint connects to."""
    http, nothing = Noted(), cast("Any", None)
    shared = ConnectorContext(cast("Http", http), SetClock(), nothing, nothing, nothing)
    described = Described(
        shared, cast("AsyncEngine", None), nothing, partial(check, https_only=https_only)
    )
    with pytest.raises(Invalid) as refused:
        await described(Endpoint(id="crm", kind="zoho", config=config), SECRETS)
    assert refused.value.field.startswith("config")
    return http.urls


@pytest.mark.parametrize("name", ["accounts_url", "api_url", "notify_url"])
@pytest.mark.parametrize("url", ["http://a.example", "HTTP://a.example", "http://127.0.0.1:1"])
async def test_nothing_is_sent_where_an_address_is_not_https(name: str, url: str) -> None:
    assert await asked({**CONFIG, name: url}, https_only=True) == []


async def test_a_check_is_sent_where_the_rule_allows_it() -> None:
    assert await asked(CONFIG, https_only=True) == ["https://a.example/oauth/v2/token"]
    plain = {**CONFIG, "accounts_url": "http://127.0.0.1:1"}
    assert await asked(plain, https_only=False) == ["http://127.0.0.1:1/oauth/v2/token"]
