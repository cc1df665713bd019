"""`make alarms-check`: check the alarms, then let real faults raise them under a real Prometheus.

    python -m tests.alarms [--only WORD] [--output build/alarms.json] [--rules-only]

First `promtool check config`, `promtool check rules`, `promtool test rules` and `amtool
check-config`. Then the real services run on the local stack, scraped by a Prometheus with the
shipped rules and an Alertmanager, and each fault is played once. A table shows the seconds from the
fault to the notification of its alarm, and from the end of the fault until Alertmanager no longer
has the alarm; the watchdog has to come all the time. Every time in the rules and in Alertmanager's
settings is divided by 60 for this run: the expressions are the same. Exit status 1 if an alarm did
not come, did not end, or a wrong one came.
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from deploy.demo.services import NAMES
from deploy.local.stack import DATA
from tests.alarms import rules
from tests.alarms.faults import FAULTS, Fault, fed_world, targets
from tests.alarms.monitoring import Monitoring, Notice, missing, monitoring
from tests.e2e.services_on_history import World

FIRES_S_MAX: Final = 60.0
"""Longest time from a fault to its alarm, in seconds."""
ENDS_S_MAX: Final = 90.0
"""Longest time from the end of a fault to the end of its alarm: a paused endpoint is tried again
after 30 s, a killed consumer's partitions are assigned anew after 10 s."""
CALM_S: Final = 5.0
"""How long no alarm fires before the first fault."""
WATCHDOG: Final = "EbbwatchWatchdog"
WATCHDOG_S_MAX: Final = 15.0
"""Longest time between two notifications of the watchdog, in seconds: of four it needs one."""
LOOK_S: Final = 0.2


@dataclass(slots=True)
class Outcome:
    """What was seen of one fault."""

    fault: str
    alarm: str
    fires_s: float | None = None
    ends_s: float | None = None
    text: str = ""
    """The text of the notification."""
    also: list[str] = field(default_factory=list)
    """Other alarms that fired meanwhile."""
    wrong: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Format as a row of a Markdown table."""
        seconds = ["–" if s is None else f"{s:.1f} s" for s in (self.fires_s, self.ends_s)]
        also = ", ".join(name.removeprefix("Ebbwatch") for name in self.also) or "–"
        row = f"| {self.fault} | {self.alarm} | {seconds[0]} | {seconds[1]} | {also} |"
        return f"{row} {'; '.join(each.splitlines()[0] for each in self.wrong)}".rstrip()


HEAD: Final = "| fault | alarm | to fire | to resolve | others that fired |\n|---|---|---|---|---|"


def check_rules() -> list[str]:
    """Run promtool and amtool on everything that is shipped; returns what they refuse."""
    commands = (
        ("promtool", "check", "config", str(rules.FOLDER / "prometheus.yml")),
        ("promtool", "check", "rules", *map(str, rules.RULES)),
        ("amtool", "check-config", str(rules.FOLDER / "alertmanager.yml")),
        ("promtool", "test", "rules", *map(str, rules.CASES)),
    )
    found = []
    for program, *arguments in commands:
        done = subprocess.run(
            [shutil.which(program) or program, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            found.append(f"{program} {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return found


class Trial:
    """Plays faults in a world that is monitored."""

    def __init__(self, world: World, seen: Monitoring) -> None:
        self._world = world
        self._seen = seen

    async def calm(self) -> list[str]:
        """Wait until everything is scraped and no alarm fires; returns what fires nevertheless."""
        deadline, quiet_since = time.monotonic() + FIRES_S_MAX, time.monotonic()
        while time.monotonic() < deadline:
            up = await asyncio.to_thread(self._seen.value, 'sum(up{job=~"ebbwatch-.+"})')
            firing = await asyncio.to_thread(self._firing)
            if up != len(NAMES) or firing != {WATCHDOG}:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > CALM_S:
                return []
            await asyncio.sleep(LOOK_S)
        return [f"{up} services are scraped, and before any fault these fire: {sorted(firing)}"]

    def watched(self) -> list[str]:
        """Return what is wrong with the watchdog: it has to come again and again."""
        since_s = time.monotonic() - WATCHDOG_S_MAX
        if any(each.name == WATCHDOG and each.at_s > since_s for each in self._seen.notices):
            return []
        return [f"the watchdog has not come for {WATCHDOG_S_MAX:.0f} s"]

    async def play(self, fault: Fault) -> Outcome:
        """Play one fault until its alarm has ended."""
        outcome = await self._played(fault)
        outcome.wrong += self._ended_processes()
        return outcome

    async def _played(self, fault: Fault) -> Outcome:
        outcome = Outcome(fault.name, fault.alarm)
        before = await asyncio.to_thread(self._firing)
        begin, notices = time.monotonic(), len(self._seen.notices)
        async with fault.play(self._world):
            fired = await self._noticed(fault, begin, begin + FIRES_S_MAX, firing=True)
        end = time.monotonic()
        if fired is None:
            outcome.wrong.append(f"no alarm within {FIRES_S_MAX:.0f} s")
            return outcome
        outcome.fires_s, outcome.text = round(fired.at_s - begin, 1), fired.text
        outcome.ends_s = await self._ended(fault, end)
        if outcome.ends_s is None:
            outcome.wrong.append(f"the alarm did not end within {ENDS_S_MAX:.0f} s")
            return outcome
        came = [each for each in self._seen.notices[notices:] if each.firing]
        outcome.also = sorted({each.name for each in came} - before - {fault.alarm})
        outcome.wrong += sorted(
            f"{each.name} does not belong to this fault ({each.text})"
            for each in came
            if each.name in outcome.also and not each.name.startswith(fault.also)
        )
        return outcome

    def _ended_processes(self) -> list[str]:
        """Return the end of the log of each service that has ended: no fault may end one."""
        services = self._world.services
        return [
            f"{name} has ended:\n{services.tail(name)}" for name in NAMES if not services.runs(name)
        ]

    def _firing(self) -> set[str]:
        return {each["labels"]["alertname"] for each in self._seen.firing()}

    async def noticed(self, fault: Fault, *, firing: bool) -> Notice | None:
        """Return a notification of the fault's alarm, of its beginning or of its end."""
        return await self._noticed(fault, 0, time.monotonic() + ENDS_S_MAX, firing=firing)

    async def _noticed(
        self, fault: Fault, since_s: float, until_s: float, *, firing: bool
    ) -> Notice | None:
        while time.monotonic() < until_s:
            for notice in self._seen.notices:
                fits = fault.wanted.items() <= notice.labels.items() and notice.firing is firing
                if fits and notice.at_s > since_s:
                    return notice
            await asyncio.sleep(LOOK_S)
        return None

    async def _ended(self, fault: Fault, since_s: float) -> float | None:
        """Return the seconds until Alertmanager no longer has the alarm; None: it goes on."""
        while (now := time.monotonic()) < since_s + ENDS_S_MAX:
            held = await asyncio.to_thread(self._seen.held)
            if not any(fault.wanted.items() <= labels.items() for labels in held):
                return round(now - since_s, 1)
            await asyncio.sleep(LOOK_S)
        return None


async def live(chosen: Sequence[Fault], show: Callable[[str], None]) -> list[Outcome]:
    """Play the faults one after the other; alarms that are not due are noted as wrong."""
    outcomes = []
    async with fed_world(DATA / "alarms") as world:
        with monitoring(DATA / "alarms" / "monitoring", targets(world)) as seen:
            trial = Trial(world, seen)
            if wrong := await trial.calm() or trial.watched():
                return [Outcome("none", "none", wrong=wrong)]
            for fault in chosen:
                outcomes.append(await trial.play(fault))
                show(outcomes[-1].line())
            if chosen and await trial.noticed(chosen[0], firing=False) is None:
                outcomes[0].wrong.append("no notification of its end")
            if chosen:
                outcomes[-1].wrong += trial.watched()
    return outcomes


async def run(given: argparse.Namespace) -> int:
    """Run everything that was asked for; returns the exit status."""
    if absent := missing():
        print(
            f"not installed: {', '.join(absent)}; on Debian: "
            "apt-get install prometheus prometheus-alertmanager",
            file=sys.stderr,
        )
        return 1
    if refused := check_rules():
        print("\n".join(refused), file=sys.stderr)
        return 1
    print(f"{len(rules.alarms())} alarms, {len(rules.cases())} cases: promtool and amtool agree")
    if given.rules_only:
        return 0
    words = [word for word in given.only.split(",") if word] or [""]
    chosen = [fault for fault in FAULTS if any(word in fault.name for word in words)]
    if not chosen:
        names = ", ".join(fault.name for fault in FAULTS)
        print(f"no fault has {given.only!r} in its name; there are: {names}", file=sys.stderr)
        return 2
    print(HEAD, flush=True)
    outcomes = await live(chosen, lambda line: print(line, flush=True))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    found = {"factor": rules.FACTOR, "faults": [asdict(each) for each in outcomes]}
    given.output.write_text(json.dumps(found, indent=2) + "\n")
    wrong = [f"{each.fault}: {text}" for each in outcomes for text in each.wrong]
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong or not outcomes else 0


def main() -> int:
    """Parse and run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.alarms")
    parser.add_argument(
        "--only", default="", help="faults whose name contains one of these words, split by commas"
    )
    parser.add_argument("--rules-only", action="store_true", help="no faults: promtool and amtool")
    parser.add_argument("--output", type=Path, default=Path("build/alarms.json"))
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
