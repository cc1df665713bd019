"""The replay's pace: when it queries the progress of the services, and how it uses the answer."""

from collections.abc import Sequence

import pytest

from deploy.demo import backlog
from deploy.demo.backlog import INGEST, SCORING, Backlog, Backpressure, Stage


class Answers(Backlog):
    """Returns its answers in turn."""

    def __init__(self, *left: int) -> None:
        self._left = list(left)
        self.asked: list[Sequence[Stage]] = []

    async def behind(self, *stages: Stage) -> int:
        self.asked.append(stages)
        return self._left.pop(0)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "LOOK_S", 0.0)


async def test_nothing_is_taken_for_read_before_the_services_were_asked() -> None:
    answers = Answers(7, 0)
    pace = Backpressure(answers, INGEST, SCORING)
    assert [await pace.within(0), await pace.within(0)] == [False, True]
    assert answers.asked == [(INGEST, SCORING)] * 2


async def test_what_fits_even_if_nothing_was_read_meanwhile_is_sent_without_asking() -> None:
    answers = Answers(10, 25)
    pace = Backpressure(answers, SCORING)
    pace.sent(100)
    assert await pace.within(30), "10 are left"
    pace.sent(120)
    assert await pace.within(30), "at most 30 are"
    assert len(answers.asked) == 1
    pace.sent(121)
    assert await pace.within(30), "31 might be, and 25 are"
    assert len(answers.asked) == 2
