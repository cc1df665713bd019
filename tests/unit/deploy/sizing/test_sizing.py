"""Laws of the sizing, its command line, and the origin of its figures."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.sizing.__main__ import FIGURES, main, read
from deploy.sizing.formula import COPIES, DISK_SHARE, GIB, REPLICAS_MIN, Figures, Load, sized

OURS = read(json.loads(FIGURES.read_text()))

LOADS = st.builds(
    Load,
    events_per_s=st.floats(1e-6, 1e6),
    peak=st.floats(1, 100),
    customers=st.integers(1, 10**9),
    retention_days=st.floats(1, 36_500),
    assessment_days=st.floats(1, 36_500),
)
MORE = st.sampled_from(["events_per_s", "peak", "customers", "retention_days", "assessment_days"])


@given(load=LOADS, name=MORE, factor=st.floats(1, 1_000))
def test_more_load_never_needs_less(load: Load, name: str, factor: float) -> None:
    """Of anything, whichever number of the load grows."""
    value = getattr(load, name) * factor
    more = replace(load, **{name: int(value) if name == "customers" else value})
    before, after = asdict(sized(load, OURS)), asdict(sized(more, OURS))
    assert all(after[each] >= before[each] for each in before)


@given(load=LOADS)
def test_nothing_is_zero_and_no_replica_is_without_a_partition(load: Load) -> None:
    """One process may end, and each of the others has something to read."""
    size = sized(load, OURS)
    assert all(value >= 1 for value in asdict(size).values())
    for replicas in (size.ingest_replicas, size.scoring_replicas, size.alerts_replicas):
        assert REPLICAS_MIN <= replicas <= size.partitions


@given(load=LOADS, name=st.sampled_from([n for n in asdict(OURS) if n.endswith("_per_s")]))
def test_a_faster_process_never_needs_more(load: Load, name: str) -> None:
    """Twice the speed: at most as many replicas."""
    faster = replace(OURS, **{name: 2 * getattr(OURS, name)})
    before, after = asdict(sized(load, OURS)), asdict(sized(load, faster))
    assert all(after[each] <= before[each] for each in before)


def test_an_example_by_hand() -> None:
    """The formula of the documentation, with round figures."""
    ones = Figures(**dict.fromkeys(asdict(OURS), 1.0))
    figures = replace(
        ones,
        ingest_events_per_s=100.0,
        scoring_events_per_s=50.0,
        sweep_customers_per_s=1e12,
        alerts_assessments_per_s=1e12,
        postgres_cpu_s_per_event=0.01,
        postgres_cpu_s_per_assessment=1e-12,
        kafka_raw_bytes_per_event=100.0,
        kafka_activity_bytes_per_event=200.0,
    )
    load = Load(events_per_s=195, peak=2, customers=1_000, retention_days=10, assessment_days=1)
    size = sized(load, figures)
    assert (size.ingest_replicas, size.scoring_replicas, size.alerts_replicas) == (8, 16, 2)
    assert size.partitions == 16
    assert size.postgres_cores == 8
    kafka = COPIES * (195 * 86_400 * (7 * 100 + 30 * 200) + 2 * 1_000)
    assert size.kafka_gib == -int(-kafka / DISK_SHARE / GIB // 1)


def test_every_figure_names_its_source() -> None:
    """A command, or the table of docs/benchmarks.md that has it."""
    document = json.loads(FIGURES.read_text())
    assert document["figures"].keys() == asdict(OURS).keys()
    for name, each in document["figures"].items():
        assert "tests.benchmark" in each["source"] or "docs/benchmarks.md" in each["source"], name


def test_the_command_prints_text_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The same numbers in both."""
    load = ["--events-per-second", "2000", "--customers", "1e6", "--retention-days", "365"]
    assert main([*load, "--json"]) == 0
    size = json.loads(capsys.readouterr().out)["size"]
    assert main(load) == 0
    text = capsys.readouterr().out
    assert all(f"{value:,}" in text for value in size.values())


@pytest.mark.parametrize("wrong", ["0", "-1", "nan", "inf", "1e13", "many", ""])
def test_a_load_that_is_no_number_is_refused(wrong: str) -> None:
    """With usage and status 2."""
    with pytest.raises(SystemExit) as ended:
        main(["--events-per-second", wrong, "--customers", "1"])
    assert ended.value.code == 2


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"figures": {}, "machine": ""}'])
def test_figures_that_cannot_be_read_are_refused(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the file's name and status 1."""
    file = tmp_path / "figures.json"
    file.write_text(content)
    load = ["--events-per-second", "1", "--customers", "1"]
    assert main([*load, "--figures", str(file)]) == 1
    assert str(file) in capsys.readouterr().err
