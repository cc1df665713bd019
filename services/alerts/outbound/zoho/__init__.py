"""Zoho CRM."""

from services.alerts.outbound.zoho.connector import (
    CALLBACK_TOKEN_LENGTH_MAX,
    PACE,
    ZohoConnector,
    ask_token,
)

__all__ = [
    "CALLBACK_TOKEN_LENGTH_MAX",
    "PACE",
    "ZohoConnector",
    "ask_token",
]
