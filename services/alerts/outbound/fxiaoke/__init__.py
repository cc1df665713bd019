"""纷享销客 Fxiaoke."""

from services.alerts.outbound.fxiaoke.connector import PACE, FxiaokeDialect, ask_session

__all__ = [
    "PACE",
    "FxiaokeDialect",
    "ask_session",
]
