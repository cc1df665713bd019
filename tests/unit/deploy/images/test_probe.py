"""The probe decides between a check and a notice, by its exit status."""

import shutil
import sys

import pytest

from deploy.images import __main__ as command
from deploy.images import probe, tools

CANNOT = "runc is not here"


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["deploy.images", *arguments])
    return command.main()


def _refuse() -> None:
    raise tools.ImagesError(CANNOT)


def test_a_machine_without_containers_has_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tools, "require", _refuse)
    assert _run(monkeypatch, "probe") == probe.CANNOT
    assert CANNOT in capsys.readouterr().err
    assert _run(monkeypatch, "check") == 1


def test_a_fault_of_the_probe_itself_is_not_taken_for_such_a_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tools, "require", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda _: "/does/not/exist")
    with pytest.raises(FileNotFoundError):
        _run(monkeypatch, "probe")


def test_a_container_that_does_not_do_its_work_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tools, "require", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda _: __file__)
    monkeypatch.setattr(probe, "output", lambda *_, **__: "")
    assert _run(monkeypatch, "probe") == probe.CANNOT


def test_a_machine_that_runs_containers_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "require", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda _: __file__)
    monkeypatch.setattr(probe, "output", lambda *_, **__: f"tini of {probe.PROGRAM}")
    assert _run(monkeypatch, "probe") == 0
