"""企业微信 WeCom: group bots and application messages."""

from services.alerts.outbound.wecom.connector import PACE, WecomApp, WecomBot, ask_token

__all__ = [
    "PACE",
    "WecomApp",
    "WecomBot",
    "ask_token",
]
