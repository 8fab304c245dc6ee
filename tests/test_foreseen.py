"""What was foreseen of a run, beside what it took."""

from distml.foreseen import foreseen_text
from distml.runs.record import RunRecord


def record(**details):
    return RunRecord(run_id="one", job_file="x.py", details=details)


def span(value):
    return {"value": value, "low": value / 2, "high": value * 2}


def test_each_figure_stands_beside_what_was_foreseen():
    told = {
        "seconds": span(60.0),
        "peak_bytes": span(2**30),
        "cost": span(1.0),
        "machines": {"head": 1, "cpu": 4},
    }
    took = {
        "seconds": 70.0,
        "peak_bytes": 3 * 2**30,
    }
    nodes = {"most": {"cpu": 4, "head": 1}, "cost": 1.25, "seconds": {"cpu": 200.0, "head": 70.0}}

    text = foreseen_text(record(predicted=told, actual=took, nodes=nodes), 100)

    assert text.splitlines()[0] == "foreseen"
    for line in (
        "time                  1:00 min (30.0 s to 2:00 min)     1:10 min       yes",
        "memory of the driver  1,024 MiB (512 MiB to 2,048 MiB)  3,072 MiB      no",
        "price                 $1.00 ($0.50 to $2.00)            $1.25          yes",
        "machines              4 cpu, 1 head                     4 cpu, 1 head  yes",
    ):
        assert line in text


def test_what_is_not_known_is_left_out():
    assert foreseen_text(record(), 80) == ""
    assert foreseen_text(record(predicted={"seconds": span(1.0)}), 80) == ""
    told = {"seconds": span(1.0), "cost": None, "peak_bytes": None, "machines": {"head": 1}}
    text = foreseen_text(record(predicted=told, actual={"seconds": 1.0}), 80)
    assert "time" in text
    assert "price" not in text
    assert "machines" not in text
