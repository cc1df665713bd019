"""Operator command: prints the features as the table of `docs/features.md`."""

import argparse
from typing import Any

from services.scoring.core.features.registry import FEATURES
from services.scoring.core.features.state import FEATURE_SET

RISK = {1: "raises", -1: "lowers", 0: ""}
HEAD = (
    "Written by `python -m services.scoring features` from",
    "`services/scoring/core/features/registry.py`; a test holds the two together. Days are",
    "86,400 s in UTC; `D_h(m)` is the sum over events of `m * 2^(-age / h)`, age in days. An",
    "empty value (NaN) means that the feature is not defined for the customer. `risk`: more of",
    "it can only raise, or only lower, the risk of a model.",
)


def add_commands(commands: Any) -> None:
    """Adds `features`."""
    shown = commands.add_parser("features", help="every feature, as docs/features.md has it")
    shown.set_defaults(command=_show)


async def _show(_: argparse.Namespace) -> int:
    print(table(), end="")
    return 0


def table() -> str:
    """Returns Markdown: every feature with its meaning, unit, formula and source."""
    lines = [
        f"# Features (feature set {FEATURE_SET})",
        "",
        *HEAD,
        "",
        "| feature | meaning | unit | formula | from | risk |",
        "|---|---|---|---|---|---|",
    ]
    for f in FEATURES:
        cells = (f"`{f.name}`", f.meaning, f.unit, f.formula, f.source, RISK[f.monotone])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
