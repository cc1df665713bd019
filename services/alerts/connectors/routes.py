"""Routes for requests from CRMs: verified here, acted on by handlers.

No API token is used: each vendor proves its identity in its own way. An endpoint that does not
exist and a wrong proof get the same answer, which reveals nothing.
"""

from fastapi import FastAPI

from services.alerts.connectors.callbacks import CallbackContext
from services.alerts.connectors.wecom.callback import add_wecom
from services.alerts.connectors.zoho.callback import add_zoho

__all__ = ["CallbackContext", "add_crm_callbacks"]


def add_crm_callbacks(app: FastAPI, place: CallbackContext) -> None:
    """Add `/v1/callbacks/zoho/…` and `/v1/callbacks/wecom/…`."""
    add_zoho(app, place)
    add_wecom(app, place)
