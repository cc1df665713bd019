"""The figures of a hostile run, its failures, and how both are shown."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from deploy.demo.services import NAMES
from tests.hostile.attack import Outcome
from tests.hostile.environment import Watched
from tests.hostile.neighbour import Livez, Seen, p

MEMORY_MAX: Final = 700 * 1024 * 1024
"""Largest resident memory of a service in bytes: some 250 MB at rest, 80 of bodies, and twice that
while they are parsed."""

READ_S_MAX: Final = 180.0
"""Seconds until all that was sent is read: 20,000 records, each of which is refused singly."""

RATIO_MAX: Final = 1.5
"""Target for a neighbour's p99 under attack, over the same load without it. Only reported, because
other work of the machine also affects it."""

CONTROLS: Final = {
    "hostile requests": "ordinary requests",
    "slow senders": "no slow senders",
    "hostile answers": "good answers",
    "hostile records": "ordinary records",
}
"""Attack -> the same load without hostility, right before it."""

SHOWN_MAX: Final = 10
"""Findings of one kind that are printed."""


@dataclass(slots=True)
class Figures:
    """The figures of a run."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    watched: dict[str, Watched] = field(default_factory=dict)
    records: int = 0
    unread: int = 0
    """Records that were not read at the end."""
    dead: dict[str, str] = field(default_factory=dict)
    """Services that ended, and the end of their logs."""
    slow: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Good requests beside slow senders: how many, and how many were answered wrongly."""
    answers: Counter[str] = field(default_factory=Counter)
    """Hostile answers by their kind."""
    results: Counter[str] = field(default_factory=Counter)
    """Alerts' interpretation of the answers to samples."""
    enabled: int = 0
    """Endpoints that a hostile answer switched off and an administrator enabled."""
    misread: list[str] = field(default_factory=list)
    neighbour: Seen = field(default_factory=Seen)

    def wrong(self) -> list[str]:
        """Describe the failures; empty when all is well."""
        found = [f"{name} died:\n{tail}" for name, tail in self.dead.items()]
        for name, seen in self.watched.items():
            if seen.memory_max > MEMORY_MAX:
                found.append(f"{name}: {seen.memory_max / 2**20:.0f} MB")
        found += [
            f"{name}: /livez stalled in {stall}"
            for name, seen in self.neighbour.livez.items()
            for stall in seen.stalls
        ]
        if self.unread:
            found.append(f"{self.unread:,} records were not read within {READ_S_MAX:.0f} s")
        for name, outcome in self.outcomes.items():
            found += [f"{name}: 500 for {fault}" for fault in outcome.faults]
        for name, (sent, bad) in self.slow.items():
            if bad:
                found.append(f"{name}: {bad} of {sent} good requests failed beside slow senders")
        found += self.misread[:SHOWN_MAX]
        if self.neighbour.lost or self.neighbour.doubled:
            found.append(
                f"of the neighbour's {self.neighbour.sent:,} tasks {self.neighbour.lost:,} never "
                f"came, {self.neighbour.doubled:,} came twice"
            )
        return found + self.neighbour.wrong[:SHOWN_MAX]

    def ratios(self) -> list[dict[str, Any]]:
        """Return p99 with and without each attack, for each kind of the neighbour's requests."""
        seen = self.neighbour.milliseconds
        return [
            {
                "attack": attack,
                "neighbour": what,
                "measured": len(times),
                "p99_ms": p(0.99, times),
                "p99_ms_without": p(0.99, seen[control][what]),
                "ratio": round(p(0.99, times) / p(0.99, seen[control][what]), 2),
                "p50_ms": p(0.5, times),
                "p50_ms_without": p(0.5, seen[control][what]),
            }
            for attack, control in CONTROLS.items()
            for what, times in sorted(seen.get(attack, {}).items())
            if seen.get(control, {}).get(what)
        ]

    def document(self) -> dict[str, Any]:
        """Return the figures for a program."""
        return {
            "services": {
                name: {
                    "requests": outcome.answers.total() + outcome.unanswered,
                    "answers": dict(sorted(outcome.answers.items())),
                    "closed": outcome.unanswered,
                    "died": int(name in self.dead),
                    "livez": msgspec.to_builtins(self.neighbour.livez.get(name, Livez())),
                    "memory_first_mb": round(seen.memory_first / 2**20),
                    "memory_max_mb": round(seen.memory_max / 2**20),
                }
                for name, outcome, seen in self._services()
            },
            "memory_bound_mb": MEMORY_MAX // 2**20,
            "records": self.records,
            "unread": self.unread,
            "hostile_answers": dict(sorted(self.answers.items())),
            "read_as": dict(sorted(self.results.items())),
            "switched_off_and_enabled": self.enabled,
            "silent_misreadings": len(self.misread),
            "neighbour": {
                "tasks": self.neighbour.sent,
                "lost": self.neighbour.lost,
                "doubled": self.neighbour.doubled,
                "wrong_answers": len(self.neighbour.wrong),
            },
            "p99": self.ratios(),
            "wrong": self.wrong(),
        }

    def lines(self) -> list[str]:
        """Return the figures for a person."""
        reported = [f"{self.records:,} hostile records taken by the broker"]
        for name, outcome, seen in self._services():
            answers = " ".join(f"{code}:{n:,}" for code, n in sorted(outcome.answers.items()))
            live = self.neighbour.livez.get(name, Livez())
            reported.append(
                f"{name:8} requests {outcome.answers.total() + outcome.unanswered:,}  "
                f"({answers}, closed:{outcome.unanswered})  died {int(name in self.dead)}  "
                f"/livez slowest {live.slowest_s:.2f} s of {live.looks:,}, stalls "
                f"{len(live.stalls)} (unseen {len(live.unseen)})  "
                f"memory {seen.memory_first / 2**20:.0f} -> {seen.memory_max / 2**20:.0f} MB"
            )
        kinds = " ".join(f"{kind}:{n:,}" for kind, n in sorted(self.answers.items()))
        results = " ".join(f"{result}:{n:,}" for result, n in sorted(self.results.items()))
        reported.append(f"{self.answers.total():,} hostile answers ({kinds})")
        reported.append(f"samples read as ({results}), {len(self.misread)} of them wrongly")
        reported.append(
            f"neighbour: {self.neighbour.sent:,} tasks, {self.neighbour.lost} lost, "
            f"{self.neighbour.doubled} doubled, {len(self.neighbour.wrong)} wrong answers"
        )
        reported += [
            f"  {r['attack']:16} {r['neighbour']:25} p99 {r['p99_ms']:7.1f} ms, without "
            f"{r['p99_ms_without']:7.1f} ms: {r['ratio']:5.2f} x"
            f"{'' if r['ratio'] <= RATIO_MAX else '  over ' + str(RATIO_MAX)}"
            for r in self.ratios()
        ]
        return reported + self.wrong()

    def _services(self) -> list[tuple[str, Outcome, Watched]]:
        return [
            (name, self.outcomes.get(name, Outcome()), self.watched.get(name, Watched()))
            for name in NAMES
        ]
