from pathlib import Path

from tests.chaos.measurements import KILL_TO_RESUMED, Losses, Measurements, quantile


def test_the_table_has_the_median_the_maximum_and_the_sums_of_all_scenarios(tmp_path: Path) -> None:
    measurements = Measurements(tmp_path / "new" / "measured.jsonl")
    measurements.time(KILL_TO_RESUMED, [1.0, 2.0], scenario="one")
    measurements.time(KILL_TO_RESUMED, [9.0], scenario="two")
    measurements.count(Losses.STALE, 2, scenario="one")
    measurements.count(Losses.STALE, 3, scenario="two")

    measurements.figure("throughput", 1234.56, "tasks/s", scenario="one")

    timed, counted, figure = measurements.table()

    assert " ".join(timed.split()) == "kill → resumed 3 times p50 2.000 s p99 9.000 s max 9.000 s"
    assert counted.split() == ["stale", "writes", "refused", "5"]
    assert figure.split() == ["throughput", "1,234.6", "tasks/s", "(one)"]


def test_a_quantile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(1, 201)]

    assert [quantile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 100.0, 198.0, 200.0]


def test_nothing_measured_is_no_table(tmp_path: Path) -> None:
    assert Measurements(tmp_path / "none.jsonl").table() == []
