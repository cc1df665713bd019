"""Connectors on loopback fakes, with their shared context in memory."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from pydantic import SecretStr

from services.alerts.connectors.context import ConnectorContext
from services.alerts.connectors.factory import CrmConnector, check, make
from services.alerts.core.task import Task
from services.alerts.delivery.attempt import attempt
from services.alerts.delivery.core.endpoint import Endpoint, Kind, Secret
from services.alerts.delivery.core.retry import Answer
from services.alerts.delivery.http_client import Http
from services.alerts.delivery.ports import (
    Connector,
)
from tests.fakes.clock import SetClock
from tests.fakes.crm import fxiaoke, wecom, zoho
from tests.fakes.crm.memory import MemoryMembers, MemoryOwners, MemoryTokens
from tests.fakes.crm.serving import Served
from tests.unit.alerts.connectors.notices import leased

LOOPBACK = (ip_network("127.0.0.0/8"),)
TIMEOUT_S = 20.0

SECRETS: dict[str, Mapping[str, str]] = {
    "zoho": {
        "client_secret": zoho.CLIENT_SECRET,
        "refresh_token": zoho.REFRESH_TOKEN,
        "callback_token": "zoho-callback-token-for-tests",
    },
    "fxiaoke": {"app_secret": fxiaoke.APP_SECRET, "permanent_code": fxiaoke.PERMANENT_CODE},
    "wecom_bot": {"key": wecom.BOT_KEY},
    "wecom_app": {
        "corp_secret": wecom.CORP_SECRET,
        "callback_token": wecom.CALLBACK_TOKEN,
        "callback_aes_key": wecom.CALLBACK_AES_KEY,
    },
}


def config(kind: Kind, fake: Served, **changes: Any) -> dict[str, Any]:
    """Return the config of an endpoint that connects to a fake."""
    own: Mapping[str, dict[str, Any]] = {
        "zoho": {
            "accounts_url": fake.url,
            "client_id": zoho.CLIENT_ID,
            "about": "{{ customer.id }}",
            "verdicts": [
                {"field": "Churn_Outcome", "value": "Lost", "verdict": "leaving"},
                {"field": "Status", "value": "Completed", "verdict": "action_taken"},
            ],
        },
        "fxiaoke": {
            "app_id": fxiaoke.APP_ID,
            "user_id": fxiaoke.USER,
            "object_name": fxiaoke.OBJECT,
            "verdicts": [{"field": "outcome__c", "value": "lost", "verdict": "leaving"}],
        },
        "wecom_bot": {},
        "wecom_app": {"corp_id": wecom.CORP_ID, "agent_id": wecom.AGENT_ID},
    }
    return {"api_url": fake.url, **own[kind], **changes}


def endpoint(kind: Kind, fake: Served, **changes: Any) -> Endpoint:
    """Return an endpoint named `crm` that connects to a fake."""
    made = config(kind, fake, **changes)
    check(kind, None, made, SECRETS[kind].keys())
    secrets = tuple(Secret(name, SecretStr(value)) for name, value in SECRETS[kind].items())
    return Endpoint(id="crm", kind=kind, config=made, secrets=secrets)


@dataclass(frozen=True, slots=True)
class Only:
    """One connector for every endpoint."""

    connector: Connector

    def of(self, endpoint: Endpoint) -> Connector:
        """Return the connector."""
        return self.connector


@dataclass(slots=True)
class Kit:
    """The context that the connectors of one process share."""

    http: Http
    clock: SetClock
    tokens: MemoryTokens = field(default_factory=MemoryTokens)
    members: MemoryMembers = field(default_factory=MemoryMembers)
    owners: MemoryOwners = field(default_factory=lambda: MemoryOwners({("crm", "o-1"): "777"}))

    def make(self, kind: Kind, fake: Served, **changes: Any) -> CrmConnector:
        """Return a connector with its own access to the token, as another process has it."""
        shared = ConnectorContext(self.http, self.clock, self.tokens, self.owners, self.members)
        return make(endpoint(kind, fake, **changes), shared)

    async def attempt(self, connector: Connector, task: Task) -> Answer:
        """Attempt to deliver the task's newest change once, as the sender does."""
        delivery, only = leased(task), Only(connector)
        tried = await attempt(only, Endpoint(id="crm"), delivery, self.clock.now(), TIMEOUT_S)
        return tried.answer


@asynccontextmanager
async def kit(timeout_s: float = 5.0) -> AsyncIterator[Kit]:
    """Provide a kit with an HTTP client."""
    clock = SetClock()
    async with Http(timeout_s=timeout_s, allowed=LOOPBACK, clock=clock) as http:
        yield Kit(http, clock)
