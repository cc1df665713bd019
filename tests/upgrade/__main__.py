"""`make upgrade-check`: upgrade from the release before, while its processes run, and go back.

    python -m tests.upgrade [--households 150] [--data .local/upgrade] [--which]

The release before (the newest one of CHANGELOG.md, from the history of this working copy) runs on
real servers while a supermarket's days arrive, with bad records, repeated events, events over HTTP
and an erasure. Step by step, in the order of CHANGELOG.md, this release takes its place, and then
the release before takes its place again. After each way everything that counts is compared with an
installation of this release that got the same events undisturbed: events counted, states,
assessments, tasks, deliveries, dead letters. Exit status 1 if anything is lost, doubled or
otherwise, or a process died; 3 if the history of this working copy is too short to have that
release. `--which` only prints that release, or that it is missing.
"""

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Final

from deploy.demo.dataset import PanelHistory, load
from deploy.local.stack import DATA, ROOT
from tests.upgrade import previous
from tests.upgrade.look import Outcome, differences, look
from tests.upgrade.trial import Trial

HOUSEHOLDS: Final = 150
ABSENT: Final = 3
"""Exit status where the release before is not to be had: a shallow clone."""
BEFORE, MIGRATING, MIGRATED, MIXED, STOPPED, AFTER = 6, 6, 3, 4, 5, 3
"""Days of events in the steps. A service that is replaced takes twice MIXED."""
UPGRADE_DAYS: Final = BEFORE + MIGRATING + MIGRATED + 4 * MIXED + STOPPED + AFTER
BACK_DAYS: Final = 4 * MIXED + STOPPED + AFTER
DAYS: Final = UPGRADE_DAYS + BACK_DAYS


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


async def undisturbed(
    folder: Path, environ: dict[str, str], history: PanelHistory
) -> tuple[Outcome, Outcome]:
    """Return the outcomes of this release alone: after the upgrade's events, and after all."""
    async with Trial.open(folder, environ, ROOT, history, DAYS, say) as trial:
        await trial.person(trial.old, trial.old)
        async with trial.step("this release alone", UPGRADE_DAYS):
            await trial.erase(trial.old)
            await trial.person(trial.old, trial.old)
        first = await look(trial.world)
        async with trial.step("this release alone, what follows", BACK_DAYS):
            pass
        return first, await look(trial.world)


async def upgrade(trial: Trial) -> None:
    """Take the steps of CHANGELOG.md."""
    async with trial.step("the release before", BEFORE):
        pass
    async with trial.step("migrate, while its processes run", MIGRATING):
        await trial.migrate()
    async with trial.step("its processes on the new tables", MIGRATED):
        await trial.erase(trial.old)
    await trial.replace("alerts", MIXED, trial.new, trial.old)
    async with trial.step("scoring: the old one stopped, then the new one started", STOPPED):
        await trial.stop("scoring", trial.old)
        await trial.start("scoring", trial.new)
    await trial.replace("ingest", MIXED, trial.new, trial.old)
    async with trial.step("this release", AFTER):
        await trial.person(trial.new, trial.new)


async def back(trial: Trial) -> None:
    """Go back, in the steps of CHANGELOG.md."""
    await trial.replace("ingest", MIXED, trial.old, trial.new)
    async with trial.step("scoring: stopped, rebuilt by the release before", STOPPED):
        await trial.stop("scoring", trial.new)
        say("  " + (await trial.old_rebuild()).strip().splitlines()[-1])
        await trial.start("scoring", trial.old)
    await trial.replace("alerts", MIXED, trial.old, trial.new)
    async with trial.step("the release before again, its `migrate` refused", AFTER):
        await trial.old_migrate_refused()


async def run(given: argparse.Namespace) -> int:
    """Run everything; returns the exit status."""
    began = time.monotonic()
    release = previous.newest((ROOT / "CHANGELOG.md").read_text("utf-8"))
    root = given.data.absolute() / release.name
    try:
        previous.require(release)
    except previous.Missing as absent:
        print(f"NOT CHECKED: {absent}", file=sys.stderr)
        return ABSENT
    if given.which:
        say(f"{release.name} (commit {release.commit})")
        return 0
    previous.export(release, root)
    say(f"from {release.name} (commit {release.commit}) to this working copy")
    if others := previous.other_packages(root):
        say(f"{release.name} runs with the packages of today: {', '.join(others)}")
    foreign = {"KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"}
    environ = {name: value for name, value in os.environ.items() if name not in foreign}
    history = load(given.households)
    folder = given.data / "servers"
    calm = await undisturbed(folder, environ, history)
    wrong: list[str] = []
    async with Trial.open(folder, environ, root, history, DAYS, say) as trial:
        await trial.person(trial.old, trial.old)
        for name, way, outcome in zip(("upgrade", "back"), (upgrade, back), calm, strict=True):
            await way(trial)
            await trial.check_rest()
            found = differences(outcome, await look(trial.world)) + trial.wrong
            trial.wrong.clear()
            wrong += [f"{name}: {each}" for each in found]
            say(
                f"{'✗' if found else '✓'} {name}: {outcome.keys.total()} events, "
                f"{outcome.tasks.total()} tasks, {outcome.webhooks.total()} messages, "
                f"{outcome.letters.total()} dead letters"
            )
        wrong += trial.errors()
    say(f"{time.monotonic() - began:.0f} s")
    for each in wrong:
        print(each, file=sys.stderr)
    return 1 if wrong else 0


def main() -> int:
    """Parse and run; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.upgrade", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--households", type=int, default=HOUSEHOLDS)
    parser.add_argument("--data", type=Path, default=DATA / "upgrade", help="folder, emptied")
    parser.add_argument("--which", action="store_true", help="only: is the release to be had?")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
