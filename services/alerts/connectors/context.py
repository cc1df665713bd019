"""What all connectors of a process share."""

from dataclasses import dataclass

from services.alerts.connectors.ports import (
    MemberPace,
    OwnerTable,
    TokenStore,
)
from services.alerts.delivery.http_client import Http
from shared.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class ConnectorContext:
    """One HTTP client, one clock, and the tables that the processes share."""

    http: Http
    clock: Clock
    tokens: TokenStore
    owners: OwnerTable
    members: MemberPace
