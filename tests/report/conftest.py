"""Runs to report on: hand-made evaluations in the form of `evaluation.json`, and their store."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distml.runs.paths import RunPaths
from distml.runs.record import Attempt, RunRecord, RunStatus
from distml.runs.store import RunStore

ZERO = 1_800_000_000.0
NASTY = "<script>alert('x')</script>"
"""A name that must be shown and must not run."""

MakeRun = Callable[..., str]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def make_run(store: RunStore) -> MakeRun:
    """`make_run(evaluation, events, **fields of the record)` → id."""

    def make(
        evaluation: dict[str, Any] | None = None,
        events: list[dict[str, Any]] | None = None,
        **fields: Any,
    ) -> str:
        record = _record(evaluation, **fields)
        store.create(record, '"""Which one is it?\n\nMore."""\n')
        here = RunPaths(record.run_id)
        if evaluation is not None:
            store.storage.write(here.evaluation, json.dumps(evaluation).encode())
        lines = [json.dumps(event) + "\n" for event in events or ()]
        if lines:
            store.storage.write(here.events, "".join(lines).encode())
        return record.run_id

    return make


@pytest.fixture(params=["binary", "four", "regression"])
def evaluation(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.getfixturevalue(request.param)


@pytest.fixture
def binary() -> dict[str, Any]:
    return classification(["no", "yes"])


@pytest.fixture
def four() -> dict[str, Any]:
    return classification(["ash", "birch", NASTY, "elm"])


@pytest.fixture(name="regression")
def _regression() -> dict[str, Any]:
    return regression()


@pytest.fixture
def fits() -> list[dict[str, Any]]:
    """Events of a run of two workers, with a fit that failed and one that nobody heard of again."""
    return _events()


def interval(value: float, half: float = 0.01) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def classification(classes: list[str], sets: tuple[str, ...] = ("old", "new")) -> dict[str, Any]:
    scores = {"stack": 0.74, "forest": 0.73, "boosting": 0.735, "logistic": 0.68, "constant": 0.5}
    return {
        **_whole("classification", classes),
        "label": "late",
        "units": None,
        "sets": {name: _of_classes(classes, scores, place) for place, name in enumerate(sets)},
        "importance": _importance("roc_auc"),
        "dependence": [
            *(_dependence("hour", list(range(24)), one) for one in classes[-1:]),
            *(_dependence("carrier", ["AA", "B6", NASTY], one) for one in classes[-1:]),
        ],
        "data": {
            **_data(),
            "label": {
                part: {"counts": {one: 1000 - 200 * k for k, one in enumerate(classes)}}
                for part in ("train", *sets)
            },
        },
    }


def regression() -> dict[str, Any]:
    scores = {"bagging": 0.98, "tree 1": 0.96, "constant": -0.0001}
    xs = [2000 * k / 300 for k in range(300)]
    centres = [-250 + 25 * k for k in range(21)]
    counts = [round(900 * math.exp(-((k - 10) ** 2) / 8)) for k in range(20)]
    of_set = {
        "rows": 10_980,
        **_scores(scores, ("r2", "neg_root_mean_squared_error")),
        "residuals": {
            "predicted": xs,
            "residual": [math.sin(k) * (40 + x / 10) for k, x in enumerate(xs)],
            "edges": centres,
            "counts": counts,
        },
        "deciles": [
            {
                "decile": k,
                "from": 500.0 * k,
                "to": 500.0 * k + 500,
                "rows": 1098,
                "mae": 30.0 * k,
                "rmse": 42.0 * k,
                "label_mean": 500.0 * k + 240,
                "prediction_mean": 500.0 * k + 250,
            }
            for k in range(1, 11)
        ],
        "slices": _slices("r2"),
    }
    parts = {"mean": 3932.8, "std": 3989.4, "min": 326.0, "max": 18823.0}
    histogram = {
        "edges": [1000.0 * k for k in range(20)],
        "counts": [2000 // (k + 1) for k in range(19)],
    }
    return {
        **_whole("regression", None),
        "label": "price",
        "units": "USD",
        "model": "bagging",
        "sets": {"hold_out": of_set},
        "importance": _importance("r2"),
        "dependence": [_dependence("carat", [0.2 + k / 10 for k in range(20)], None)],
        "learning_curve": {
            "metric": "r2",
            "rows": [1000, 5000, 20000, 42960],
            "train": [0.99, 0.99, 0.985, 0.984],
            "sets": {"hold_out": [0.9, 0.95, 0.97, 0.98]},
        },
        "cross_validation": {
            "folds": 3,
            "scores": {"r2": {"folds": [0.97, 0.98, 0.99], "mean": 0.98, "std": 0.008}},
        },
        "data": {
            **_data(),
            "label": {part: {**parts, "histogram": histogram} for part in ("train", "hold_out")},
        },
    }


def _whole(task: str, classes: list[str] | None) -> dict[str, Any]:
    return {
        "format": 1,
        "task": task,
        "classes": classes,
        "model": "stack",
        "level": 0.95,
        "learning_curve": None,
        "cross_validation": None,
    }


def _scores(scores: dict[str, float], metrics: tuple[str, ...]) -> dict[str, Any]:
    first = next(iter(scores.values()))
    return {
        "scores": {
            name: {m: interval(s - 0.03 * k) for k, m in enumerate(metrics)}
            for name, s in scores.items()
        },
        "differences": {
            name: {m: interval(first - s, 0.006) for m in metrics}
            for name, s in list(scores.items())[1:]
        },
    }


def _of_classes(classes: list[str], scores: dict[str, float], place: int) -> dict[str, Any]:
    curves = classes[-1:] if len(classes) == 2 else classes
    grid = [k / 199 for k in range(200)]
    lift = [0.3 + 0.1 * k + 0.05 * place for k in range(len(curves))]
    thresholds = [
        {
            "threshold": k / 20,
            "precision": 0.2 + 0.038 * k,
            "recall": 1 - k / 20,
            "f1": 0.3 + 0.02 * k - 0.002 * k * k,
            "flagged": 4000 - 200 * k,
            "cost": 900 + 4.0 * (k - 7) ** 2,
        }
        for k in range(21)
    ]
    told = {
        "rows": 4000 - 100 * place,
        **_scores(scores, ("roc_auc", "neg_log_loss")),
        "confusion": {
            "labels": classes,
            "counts": [
                [700 if i == j else 40 + 11 * j for j in range(len(classes))]
                for i in range(len(classes))
            ],
        },
        "per_class": [
            {"class": c, "precision": 0.7, "recall": 0.6, "f1": 0.65, "support": 1000 - 100 * k}
            for k, c in enumerate(classes)
        ],
        "averages": {
            name: {"precision": 0.71, "recall": 0.62, "f1": 0.66} for name in ("micro", "macro")
        },
        "roc": [
            {"class": c, "fpr": grid, "tpr": [x**p for x in grid], "auc": 1 / (1 + p)}
            for c, p in zip(curves, lift, strict=True)
        ],
        "pr": [
            {
                "class": c,
                "recall": grid,
                "precision": [1 - (1 - p / 2) * x for x in grid],
                "average_precision": 1 - p,
            }
            for c, p in zip(curves, lift, strict=True)
        ],
        "calibration": [
            {
                "class": c,
                "predicted": [k / 10 + 0.05 for k in range(10)],
                "observed": [(k / 10 + 0.05) ** (1 + p) for k in range(10)],
                "count": [400 - 30 * k for k in range(10)],
            }
            for c, p in zip(curves, lift, strict=True)
        ],
        "brief": None,
        "brier": 0.161 if len(classes) == 2 else None,
        "slices": _slices("roc_auc"),
        "drift": _drift(),
    }
    if len(classes) == 2:
        cost = {"false_positive": 1.0, "false_negative": 5.0}
        told["thresholds"] = {"cost": cost, "best": 0.35, "rows": thresholds}
    return told


def _slices(metric: str) -> dict[str, Any]:
    values = ["JFK", "EWR", "LGA", NASTY, "other"]
    return {
        "origin": [
            {
                "value": v,
                "rows": 2000 - 300 * k,
                "scores": {metric: interval(0.75 - 0.02 * k, 0.01 + 0.005 * k)},
            }
            for k, v in enumerate(values)
        ]
    }


def _importance(metric: str) -> dict[str, Any]:
    names = [
        "dep_hour",
        "carrier",
        "wind_gust",
        "a_column_with_quite_a_long_name_for_a_label",
        NASTY,
    ]
    features = [
        {"feature": n, "mean": 0.09 / (k + 1) - 0.01, "std": 0.004} for k, n in enumerate(names)
    ]
    return {"set": "old", "metric": metric, "repeats": 5, "features": features}


def _dependence(feature: str, grid: list[Any], of_class: str | None) -> dict[str, Any]:
    kind = "category" if isinstance(grid[0], str) else "number"
    average = [0.2 + 0.1 * math.sin(k / 3) for k in range(len(grid))]
    return {"feature": feature, "kind": kind, "grid": grid, "average": average, "class": of_class}


def _data() -> dict[str, Any]:
    columns = [
        {
            "name": "carrier",
            "type": "string",
            "nulls": 0,
            "distinct": 16,
            "min": None,
            "max": None,
            "mean": None,
            "top": [["UA", 58665], [NASTY, 54635], ["EV", 54173]],
        },
        {
            "name": "wind_gust",
            "type": "double",
            "nulls": 20778,
            "distinct": 36,
            "min": 0.0,
            "max": 66.75,
            "mean": 10.4,
            "top": [],
        },
    ]
    return {"rows": {"train": 16000, "old": 4000, "new": 3900}, "columns": columns}


def _record(evaluation: dict[str, Any] | None, **fields: Any) -> RunRecord:
    whole = {
        "run_id": "20270115-080000-demo-0001",
        "job_file": "jobs/flights_stacking.py",
        "parameters": {"rows": 50000, "cv": 3, "words": NASTY},
        "launcher": "local",
        "seed": 0,
        "git": {"commit": "c5547fe150574d450aec14626f3ef61bbc1a70cd", "dirty": True},
        "versions": {"python": "3.11.7", "distml": "0.1.0", "sklearn": "1.9.1"},
        "host": {"name": "vm", "cpus": 2, "memory_bytes": 2**34, "platform": "Linux"},
        "created_at": ZERO,
        "started_at": ZERO,
        "status": RunStatus.SUCCEEDED,
        "metrics": _metrics(evaluation) if evaluation else {},
        "table": _table(evaluation) if evaluation else (),
        "artifacts": {"bundle": {"path": "bundle", "sha256": "ab" * 32, "bytes": 83_350_716}},
        "details": {"features": [f"column_{k}" for k in range(40)], "seconds": {"fit": 25.4}},
        "attempts": (
            Attempt(started_at=ZERO, finished_at=ZERO + 41, host="vm", pid=7, launcher="local"),
        ),
    }
    return RunRecord(**{**whole, **fields})


def _metrics(evaluation: dict[str, Any]) -> dict[str, dict[str, float]]:
    return {
        name: {m: told["value"] for m, told in of_set["scores"][evaluation["model"]].items()}
        for name, of_set in evaluation["sets"].items()
    }


def _table(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    first = next(iter(evaluation["sets"].values()))
    kinds = {evaluation["model"]: "ensemble", "constant": "baseline"}
    return [
        {
            "model": name,
            "kind": kinds.get(name, "member"),
            "fit_s": 2.5,
            "predict_s": 0.1,
            "size_bytes": 4_000_000,
        }
        for name in first["scores"]
    ]


def _events() -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [{"t": ZERO, "kind": "attempt", "number": 1}]
    events += [
        {"t": ZERO + t, "kind": "phase", "name": n}
        for t, n in ((0.1, "read"), (2, "encode"), (5, "fit"))
    ]
    events.append({"t": ZERO + 5, "kind": "plan", "units": 10, "cached": 0})
    for k in range(8):
        member, start = ("forest", "boosting")[k % 2], 6 + 4 * (k // 2)
        unit, end = f"{member}, fold {k // 2}", start + 2.5 + k % 2
        told = {"unit": unit, "member": member}
        events.append({"t": ZERO + start, "kind": "unit_started", **told, "cpus": 1})
        events.append(
            {
                "t": ZERO + end,
                "kind": "unit_done",
                **told,
                "seconds": end - start - 0.4,
                "peak_bytes": 34_893_824,
                "worker": f"vm:{k % 2 + 1}",
                "cached": False,
            }
        )
    for unit in ("bad", "lost"):
        events.append(
            {"t": ZERO + 30, "kind": "unit_started", "unit": unit, "member": unit, "cpus": 1}
        )
    events.append(
        {
            "t": ZERO + 33,
            "kind": "unit_failed",
            "unit": "bad",
            "member": "bad",
            "error": f"ValueError: {NASTY}",
        }
    )
    events += [
        {"t": ZERO + t, "kind": "phase", "name": n} for t, n in ((34, "evaluate"), (40, "save"))
    ]
    return sorted(events, key=lambda event: event["t"])


def _drift() -> dict[str, Any]:
    said = {"kind": "number", "chance": 0.02, "ks": 0.1, "nulls_before": 0.0, "nulls_after": 0.25}
    steady = {"column": "steady", "psi": 0.01, "moved": "no", **said}
    gone = {"column": NASTY, "psi": 0.31, "moved": "far", **said}
    sort_of = {"column": "class", "psi": 0.12, "moved": "some", **said}
    return {"inputs": [steady, gone], "outputs": [sort_of]}
