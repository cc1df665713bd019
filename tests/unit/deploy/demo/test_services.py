"""The wait for the demo's services ends, and its error names the log."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.demo import services
from deploy.demo.services import DemoError, Services


class Scripts(Services):
    """Runs a line of Python in place of each service."""

    def script(self, name: str, line: str) -> None:
        self._servers[name] = self._process(name, "timeit", "-n", "1", "-r", "1", line)
        self._servers[name].start()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Scripts]:
    with Scripts(tmp_path, {}) as found:
        yield found


async def never() -> bool:
    return False


async def test_a_service_that_ends_is_noticed_and_its_last_words_are_shown(
    running: Scripts,
) -> None:
    running.script("scoring", "raise SystemExit('no such database')")
    with pytest.raises(DemoError, match=r"(?s)scoring has ended.*no such database.*scoring\.log"):
        await running.wait(never, "scoring to be ready", 30)


async def test_a_wait_in_vain_ends_and_names_the_logs(running: Scripts, tmp_path: Path) -> None:
    running.script("alerts", "import time; time.sleep(60)")
    with pytest.raises(DemoError, match=f"alerts to catch up.*{tmp_path / 'logs'}"):
        await running.wait(never, "alerts to catch up", 0)


async def test_a_service_that_cannot_be_reached_is_waited_for(running: Scripts) -> None:
    answers: Iterator[Exception | bool] = iter([httpx.ConnectError("refused"), False, True])

    async def check() -> bool:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    await running.wait(check, "an answer", 30)
    assert not list(answers)


def test_nothing_runs_once_the_services_are_left(tmp_path: Path) -> None:
    with Scripts(tmp_path, {}) as left:
        left.script("ingest", "import time; time.sleep(60)")
        process = left._servers["ingest"]
        assert process.running
    assert not process.running


def test_a_command_that_fails_shows_what_it_said(
    running: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        DemoError, match=r"python -m services\.nothing migrate` failed:\n.*No module"
    ):
        running.command("nothing", "migrate")
    monkeypatch.setattr(services, "COMMAND_S_MAX", 0.01)
    with pytest.raises(DemoError, match="took longer than"):
        running.command("ingest", "migrate")


def test_the_environment_never_reaches_an_error(running: Scripts) -> None:
    running._configure()
    secret = running._environment["SAMPLE_CRM_WEBHOOK_SECRET"]
    with pytest.raises(DemoError) as failed:
        running.command("nothing")
    assert secret.startswith("whsec_")
    assert secret not in str(failed.value)
