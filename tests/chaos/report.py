"""The result of a fault: one line for people, one object for `build/chaos.json`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Found:
    """The faults found by the judge; all counts must be 0."""

    lost: int = 0
    """Events without effect, messages that were never sent."""
    duplicated: int = 0
    """Events with two effects, messages with two contents."""
    false_alerts: int = 0
    """Customers published as at high risk who are not by the reference."""
    wrong: list[str] = field(default_factory=list)
    """Everything else that is wrong, in words."""

    @property
    def nothing(self) -> bool:
        """Whether the fault left no trace."""
        return not (self.lost or self.duplicated or self.false_alerts or self.wrong)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One fault's line; `ok` None: not run, for the reason in `why`."""

    fault: str
    times: int
    lost: int
    duplicated: int
    false_alerts: int
    recovery_s: float | None
    ok: bool | None
    why: str = ""

    @classmethod
    def of(cls, fault: str, times: int, recovery_s: float | None, found: Found) -> "Verdict":
        """Build a verdict: ok only if the fault was injected and left no trace."""
        return cls(
            fault=fault,
            times=times,
            lost=found.lost,
            duplicated=found.duplicated,
            false_alerts=found.false_alerts,
            recovery_s=None if recovery_s is None else round(recovery_s, 2),
            ok=found.nothing and times > 0,
            why="; ".join(found.wrong) or ("" if times else "was never injected"),
        )

    @classmethod
    def not_run(cls, fault: str, why: str) -> "Verdict":
        """Build a verdict that is listed, and never as passed."""
        return cls(fault, 0, 0, 0, 0, None, None, why)

    def line(self) -> str:
        """Format for a person at a terminal."""
        mark = {True: "ok     ", False: "FAILED ", None: "not run"}[self.ok]
        recovery = "      -" if self.recovery_s is None else f"{self.recovery_s:5.1f} s"
        counts = (
            f"{self.times:3} times  lost {self.lost}  doubled {self.duplicated}  "
            f"false alerts {self.false_alerts}  recovery {recovery}"
        )
        text = f"{mark} {self.fault:<44}"
        return f"{text} {self.why}" if self.ok is None else f"{text} {counts}  {self.why}".rstrip()

    def entry(self) -> dict[str, object]:
        """Return the entry for the file: exactly its keys."""
        return {name: value for name, value in asdict(self).items() if name != "why"}


def write(path: Path, broker: str, verdicts: Sequence[Verdict]) -> None:
    """Writes `{"broker": ..., "faults": [...]}`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {"broker": broker, "faults": [verdict.entry() for verdict in verdicts]}
    path.write_text(json.dumps(found, indent=2) + "\n")
