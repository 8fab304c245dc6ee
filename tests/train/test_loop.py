"""Loops of the user's own: what they are given, what they leave, and what is refused."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import cloudpickle
import numpy as np
import pyarrow as pa
import pytest
import safetensors.torch
import torch
from torch.nn import functional

import distml
from distml import driver, session
from distml.errors import DataError, UserError
from distml.job import Resources, RunContext
from distml.runs.record import RunStatus
from distml.runs.store import RunStore
from distml.train.checkpoint import Checkpoints
from distml.train.own_loop import LoopError

ROWS = 300
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(ROWS, 3)).astype(np.float32)
TABLE = pa.table(
    {
        **{f"x{i}": X[:, i] for i in range(3)},
        "colour": RANDOM.choice(["red", "green", "blue"], ROWS),
        "y": np.where(X[:, 0] + X[:, 1] > 0, "yes", "no"),
        "amount": X[:, 0].astype(np.float64) * 100 + 7,
    }
)


@pytest.fixture
def data(tmp_path):
    return distml.write_shards(TABLE, tmp_path / "data", num_shards=2)


@pytest.fixture
def context(tmp_path):
    """What a run tells its task; its events are in `context.events`."""
    return context_at(tmp_path / "run")


def context_at(folder):
    events = []
    made = RunContext(
        run_id="one",
        run_uri=str(folder),
        seed=5,
        resources=Resources(),
        emit=lambda kind, **fields: events.append({"kind": kind, **fields}),
    )
    EVENTS[str(folder)] = events
    return made


EVENTS: dict = {}


def settings(**given):
    split = distml.Split({"test": distml.ByHash(0.3)})
    columns = ["x0", "x1", "x2", "colour"]
    return {"label": "y", "features": columns, "split": split, "cpus_per_worker": 1, **given}


def learn(train, lr=0.05, epochs=3, end=None):
    """Logistic regression; `end(train, step)` is called after each step."""
    model = train.prepare(train.network(distml.MLP(hidden=())))
    optimizer = torch.optim.Adam(model.parameters(), lr)
    train.resume(model=model, optimizer=optimizer)
    for _ in train.epochs(epochs):
        for batch in train.batches("train", batch_size=64):
            losses = functional.cross_entropy(model(batch), batch["y"], reduction="none")
            optimizer.zero_grad()
            batch.mean(losses).backward()
            optimizer.step()
            if end is not None:
                end(train, train.position.step)
        train.report({"val_loss": score(train, model)})


def score(train, model):
    total = rows = 0.0
    with torch.no_grad():
        for batch in train.batches("test", batch_size=64):
            losses = functional.cross_entropy(model(batch), batch["y"], reduction="none")
            total += float(batch.mean(losses)) * batch.global_rows
            rows += batch.global_rows
    return total / rows


def test_a_loop_sees_fields_labels_and_what_a_network_is_sized_from(data, context):
    seen = {}

    def look(train):
        seen["shape"], seen["classes"], seen["scales"] = train.shape, train.classes, train.scales
        seen["parts"] = {name: part.num_rows for name, part in train.parts.items()}
        seen["batch"] = next(iter(train.batches("test", batch_size=10_000)))

    distml.Loop(look, data=data, **settings()).run(context)

    assert [(field.kind, field.size) for field in seen["shape"]] == [
        ("numbers", (3,)), ("categories", (1,)),
    ]  # fmt: skip
    assert seen["shape"].num_outputs == 2
    assert seen["classes"].tolist() == ["no", "yes"]
    assert sum(seen["parts"].values()) == ROWS
    batch = seen["batch"]
    assert batch["y"].dtype == torch.int64
    expected = (batch["numbers"][:, 0] + batch["numbers"][:, 1] > 0).long()
    assert torch.equal(batch["y"], expected)


def test_what_is_learnt_from_data_is_learnt_from_train(tmp_path, context):
    table = pa.table({"x": [1.0, 3.0, 100.0], "c": ["a", "b", "new"], "y": [0.0, 1.0, 2.0]})
    data = {"train": _shards(tmp_path / "a", table[:2]), "later": _shards(tmp_path / "b", table)}
    seen = {}

    def look(train):
        seen["mean"] = train.scales["numbers"].mean.tolist()
        seen["batch"] = next(iter(train.batches("later", batch_size=3)))

    distml.Loop(look, data=data, label="y").run(context)

    assert seen["mean"] == [2.0]
    assert seen["batch"]["categories"][2].item() == 0
    assert seen["batch"]["y"].tolist() == [[0.0], [1.0], [2.0]]
    assert seen["batch"]["y"].dtype == torch.float32


def test_a_loop_without_a_label_gets_fields_only(data, context):
    names = []

    def look(train):
        names.extend(next(iter(train.batches("train", batch_size=5))))

    distml.Loop(look, data=data.uri, features=["x0", "x1"]).run(context)

    assert names == ["numbers"]


def test_lists_become_the_fields_that_inputs_say(tmp_path, context):
    table = pa.table(
        {
            "image": pa.array([[1, 2, 3, 4]] * 4, pa.list_(pa.uint8(), 4)),
            "text": pa.array([[1, 2], [3], [1, 2, 3], [2]], pa.list_(pa.int64())),
            "y": ["a", "b"] * 2,
        }
    )
    seen = {}

    def look(train):
        seen.update(next(iter(train.batches("train", batch_size=4, shuffle=False))))

    inputs = distml.Inputs(arrays={"image": (2, 2)}, tokens=["text"])
    distml.Loop(look, data=_shards(tmp_path / "d", table), label="y", inputs=inputs).run(context)

    assert seen["array"].shape == (4, 2, 2)
    assert seen["tokens"].shape == (4, 3)
    assert sorted(seen["lengths"].tolist()) == [1, 1, 2, 3]
    assert not hasattr(inputs, "readers_")


def test_the_result_tells_the_best_and_the_last_report(data, context):
    def fall_and_rise(train):
        for loss in (3.0, 1.0, float("nan"), 2.0):
            for _ in train.batches("train", batch_size=500):
                pass
            train.report({"other": 0.5, "val_loss": loss}, model=torch.nn.Linear(2, 1))

    result = distml.Loop(fall_and_rise, data=data, **settings()).run(context)

    assert list(result.metrics) == ["best", "last"]
    assert list(result.metrics["best"].items()) == [("val_loss", 1.0), ("other", 0.5)]
    assert result.metrics["last"]["val_loss"] == 2.0
    assert result.artifacts["checkpoint"] == "checkpoints/step-000000000002.safetensors"
    told = json.loads(Path(context.run_uri, "evaluation.json").read_text())
    (network,) = told["networks"]
    assert network["history"]["val_loss"] == [3.0, 1.0, None, 2.0]
    assert network["history"]["epoch"] == [1.0, 2.0, 3.0, 4.0]
    assert (network["best_epoch"], network["module"], network["parameters"]) == (2, "Linear", 3)


def test_the_weights_of_the_best_report_are_left_under_their_names(data, context):
    kept = []

    def grow(train):
        model = torch.nn.Linear(2, 1)
        for step, score in enumerate((0.1, 0.9, 0.2)):
            for _ in train.batches("train", batch_size=500):
                pass
            torch.nn.init.constant_(model.weight, step)
            train.report({"accuracy": score}, model=model)
        kept.append(model)

    loop = distml.Loop(grow, data=data, **settings(metric="accuracy", mode="max"))
    result = loop.run(context)

    weights = safetensors.torch.load_file(Path(context.run_uri, result.artifacts["weights"]))
    assert weights["weight"].tolist() == [[1.0, 1.0]]
    kept[0].load_state_dict(weights)


def test_weights_of_several_networks_carry_the_names_they_were_kept_by(data, context):
    def two(train):
        next(iter(train.batches("train", batch_size=500)))
        train.report({"val_loss": 1.0}, a=torch.nn.Linear(1, 1), b=torch.nn.Linear(1, 1))

    result = distml.Loop(two, data=data, **settings()).run(context)

    weights = safetensors.torch.load_file(Path(context.run_uri, result.artifacts["weights"]))
    assert sorted(weights) == ["a.bias", "a.weight", "b.bias", "b.weight"]


@pytest.mark.parametrize(
    ("reports", "said"),
    [([], "reported nothing"), ([{"loss": 1.0}], "no report has a 'val_loss'")],
    ids=["none", "another metric"],
)
def test_a_loop_without_a_best_report_ends_and_says_so(data, context, reports, said):
    def tell(train):
        for metrics in reports:
            train.report(metrics)

    result = distml.Loop(tell, data=data, **settings()).run(context)

    assert "best" not in result.metrics
    messages = [event["message"] for event in EVENTS[context.run_uri] if event["kind"] == "log"]
    assert said in messages[-1]


def test_a_run_that_was_interrupted_goes_on_to_the_very_weights(data, tmp_path):
    """In the middle of an epoch, with dropout, after any step."""

    def dropped(train, stop_at=None):
        model = train.prepare(torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(3, 2)))
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        train.resume(model=model, optimizer=optimizer)
        for _ in train.epochs(3):
            for batch in train.batches("train", batch_size=64):
                losses = functional.cross_entropy(
                    model(batch["numbers"]), batch["y"], reduction="none"
                )
                optimizer.zero_grad()
                batch.mean(losses).backward()
                optimizer.step()
                if train.position.step == stop_at:
                    os.kill(os.getpid(), signal.SIGINT)
            train.report({"val_loss": 1.0})

    whole, halves = context_at(tmp_path / "whole"), context_at(tmp_path / "halves")
    loop = distml.Loop(dropped, data=data, **settings())
    undisturbed = loop.run(whole)
    for step in (2, 5, 6):
        with pytest.raises(KeyboardInterrupt):
            replace(loop, params={"stop_at": step}).run(halves)
    resumed = loop.run(halves)

    assert resumed.details["steps"] == undisturbed.details["steps"] == 12
    assert len(EVENTS[halves.run_uri]) > 0
    one, other = (_last_state(each) for each in (whole, halves))
    assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"])


def test_histories_of_a_resumed_run_are_those_of_an_undisturbed_one(data, tmp_path):
    whole, halves = context_at(tmp_path / "whole"), context_at(tmp_path / "halves")

    def interrupt(train, step):
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    undisturbed = distml.Loop(learn, data=data, **settings()).run(whole)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            distml.Loop(learn, data=data, params={"end": interrupt}, **settings()).run(halves)
    finally:
        signal.signal(signal.SIGTERM, before)
    resumed = distml.Loop(learn, data=data, **settings()).run(halves)

    assert resumed.metrics == undisturbed.metrics


def test_an_error_of_the_loop_is_said_with_its_line_and_not_tried_again(data, context):
    tries = []

    def fail(train):
        tries.append(1)
        raise ValueError("no\nluck")

    with pytest.raises(LoopError, match=r"test_loop\.py:\d+: fail\(\) raised ValueError: no luck$"):
        distml.Loop(fail, data=data, **settings()).run(context)

    assert tries == [1]


def test_an_error_that_leaves_its_process_takes_its_traceback_along():
    try:
        try:
            raise KeyError("deep")
        except KeyError as error:
            raise LoopError("there") from error
    except LoopError as error:
        there = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(error))))

    assert str(there) == "there"
    assert len(there.__notes__) == 1
    assert "test_loop.py" in there.__notes__[0]


def test_what_distml_refuses_inside_a_loop_is_the_users_mistake(data, context):
    def ask(train):
        next(iter(train.batches("tset", batch_size=5)))

    with pytest.raises(UserError, match="no part 'tset'; there is train, test"):
        distml.Loop(ask, data=data, **settings()).run(context)


def no_argument():
    pass


def only_keywords(*, lr):
    pass


async def waits(train):
    pass


def plain(train, lr, steps=3):
    pass


@pytest.mark.parametrize(
    ("function", "given", "said"),
    [
        (no_argument, {}, r"no_argument\(\) takes no argument"),
        (only_keywords, {}, r"only_keywords\(\) takes no argument"),
        (waits, {}, "neither yield nor be async"),
        ("plain", {}, "'plain' is no function"),
        (plain, {"params": {"lr": 1, "step": 2}}, r"no parameter 'step'; did you mean 'steps'\?"),
        (plain, {"params": {"lr": 1, "zzz": 2}}, "'zzz'; it takes lr, steps"),
        (plain, {"params": {"steps": 2}}, "needs 'lr'; give params={'lr': "),
        (plain, {"params": {"train": 2, "lr": 1}}, "'train' is what plain"),
        (learn, {"mode": "most"}, "mode='most'; give one of 'min', 'max'"),
        (learn, {"precision": "fp8"}, "precision='fp8'"),
        (learn, {"strategy": "zero"}, "strategy='zero'"),
        (learn, {"task": "ranking"}, "task='ranking'"),
        (learn, {"num_workers": -1}, "num_workers=-1"),
        (learn, {"num_workers": (3, 2)}, r"num_workers=\(3, 2\)"),
        (learn, {"gpus_per_worker": -1}, "gpus_per_worker=-1"),
        (learn, {"num_to_keep": 0}, "num_to_keep=0 must be at least 1"),
        (learn, {"max_failures": -1}, "max_failures=-1"),
        (learn, {"features": "x0"}, "give a list"),
        (learn, {"features": ["y"]}, "'y' is the label"),
        (learn, {"data": {"a": "x", "b": "y"}, "split": None}, "name one of them 'train'"),
        (learn, {"data": {"train": "x"}}, "leave split out"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_makes_no_sense_is_refused_before_anything_is_read(function, given, said):
    with pytest.raises(UserError, match=said) as raised:
        distml.Loop(function, **{"data": "nowhere", **settings(**given)})

    assert "\n" not in str(raised.value)


def test_a_loop_may_take_any_keywords(data, context):
    seen = {}

    def take(train, **others):
        seen.update(others)

    distml.Loop(take, data=data, params={"a": 1}, **settings()).run(context)

    assert seen == {"a": 1}


@pytest.mark.parametrize(
    ("columns", "given", "said"),
    [
        ({"y": [1, 2, 3]}, {}, 'task="classification" or task="regression"'),
        ({"y": ["a", "b", None]}, {}, "null in 1 of the 3 rows of 'train'"),
        ({"y": [1.0, float("nan"), 2.0]}, {}, "not finite in 1 rows"),
        ({"y": ["a", "a", "a"]}, {}, "only the value 'a'"),
        ({"y": ["a", "b", "a"]}, {"task": "regression"}, "a regression needs numbers"),
        ({"y": [[1], [2], [3]]}, {}, "plain values"),
        ({"z": ["a", "b", "a"]}, {}, "no column 'y'"),
        ({"y": ["a", "b", "a"]}, {"features": ["w"]}, "no column 'w'"),
    ],
    ids=["whole", "null", "nan", "one class", "text", "nested", "no label", "no feature"],
)
def test_a_label_that_cannot_be_learnt_is_refused(tmp_path, context, columns, given, said):
    data = _shards(tmp_path / "d", pa.table({"x": [1.0, 2.0, 3.0], **columns}))

    with pytest.raises(UserError, match=said):
        distml.Loop(learn, data=data, label="y", **given).run(context)


def test_a_class_that_train_lacks_is_refused_with_its_part(tmp_path, context):
    train = pa.table({"x": [1.0, 2.0], "y": ["a", "b"]})
    later = pa.table({"x": [1.0, 2.0], "y": ["a", "c"]})
    data = {"train": _shards(tmp_path / "a", train), "later": _shards(tmp_path / "b", later)}

    with pytest.raises(DataError, match="'y' is 'c' in 1 rows of 'later'"):
        distml.Loop(learn, data=data, label="y").run(context)


def test_a_part_without_rows_is_refused(data, context):
    split = distml.Split({"late": distml.ByTime("amount", start=1e9)})

    with pytest.raises(DataError, match="part 'late' has none of the 300 rows"):
        distml.Loop(learn, data=data, **settings(split=split)).run(context)


def test_debug_trains_what_several_workers_would_in_one(data, context):
    with session.inline():
        several = distml.Loop(learn, data=data, num_workers=2, **settings()).run(context)

    messages = [event.get("message", "") for event in EVENTS[context.run_uri]]
    assert any("num_workers=2: debug trains the same batches" in said for said in messages)
    assert several.details["num_workers"] == 1


@pytest.fixture
def by_value():
    """Let functions of this file reach workers, which cannot import it."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("by_value")
def test_two_workers_compute_what_one_does_and_have_ray_train(data, tmp_path):
    def spread(train):
        learn(train)
        if train.world_size > 1:
            from ray import train as ray_train

            told = ray_train.get_context()
            train.report({"workers": told.get_world_size(), "mean": told.get_world_rank()})

    one, two = (
        distml.Loop(spread, data=data, num_workers=n, **settings()).run(context_at(tmp_path / name))
        for n, name in ((1, "one"), (2, "two"))
    )

    assert two.metrics["last"] == {"workers": 2.0, "mean": 0.5}
    assert two.metrics["best"] == pytest.approx(one.metrics["best"], rel=1e-5)
    assert two.details["num_workers"] == 2


@pytest.mark.ray
@pytest.mark.slow
def test_an_error_on_workers_ends_the_run_at_once_with_its_traceback(data, context):
    def fail(train):
        next(iter(train.batches("train", batch_size=64)))
        if train.rank == 1:
            raise ValueError("no luck")
        torch.distributed.barrier()

    with pytest.raises(LoopError, match="raised ValueError: no luck") as raised:
        distml.Loop(fail, data=data, num_workers=2, **settings()).run(context)

    assert 'raise ValueError("no luck")' in raised.value.__notes__[0]
    counted = [event for event in EVENTS[context.run_uri] if event["kind"] == "log"]
    assert counted == []


JOB = '''
    """A loop in a job file, with a class and a constant of its own."""
    import time

    import torch
    from torch.nn import functional

    import distml

    WIDTH = 8


    class Net(torch.nn.Module):
        def __init__(self, shape):
            super().__init__()
            self.first = torch.nn.Linear(shape["numbers"].width, WIDTH)
            self.last = torch.nn.Linear(WIDTH, shape.num_outputs)
            self.drop = torch.nn.Dropout(0.2)

        def forward(self, numbers):
            return self.last(self.drop(torch.relu(self.first(numbers))))


    def train_loop(train, pause=0.0, lr=0.01):
        model = train.prepare(Net(train.shape))
        optimizer = torch.optim.Adam(model.parameters(), lr)
        train.resume(model=model, optimizer=optimizer)
        for _ in train.epochs(3):
            for batch in train.batches("train", batch_size=16):
                outputs = model(batch["numbers"])
                losses = functional.cross_entropy(outputs, batch["y"], reduction="none")
                optimizer.zero_grad()
                batch.mean(losses).backward()
                optimizer.step()
                time.sleep(pause)
            train.report({"val_loss": float(batch.mean(losses.detach()))})


    def job(pause: float = 0.0, workers: int = 0, typo: bool = False) -> distml.Job:
        params = {"pause": pause, **({"lrr": 1} if typo else {})}
        return distml.Job(
            task=distml.Loop(
                train_loop, data="data", label="y",
                features=["x0", "x1", "x2"], params=params, num_workers=workers,
                cpus_per_worker=1, checkpoint_every_s=0.05,
            ),
            seed=4,
        )
'''


@pytest.fixture
def job_file(tmp_path, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.py").write_text(dedent(JOB))
    return tmp_path / "job.py"


def drive(job_file, run_id, *arguments, resume=False):
    what = "--resume" if resume else str(job_file)
    place = ["--storage", str(job_file.parent / "runs"), "--run-id", run_id]
    return driver.main([what, *place, "--launcher", "debug", *arguments])


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


@pytest.mark.filterwarnings("default")
def test_a_finished_run_has_scores_hashes_and_a_report_and_is_not_resumed(job_file, store, capfd):
    assert drive(job_file, "one", "--inline") == 0

    record = store.load("one")
    assert record.status is RunStatus.SUCCEEDED
    assert set(record.metrics) == {"best", "last"}
    assert record.metrics["best"]["val_loss"] <= record.metrics["last"]["val_loss"]
    assert {"checkpoint", "weights", "evaluation"} <= record.artifacts.keys()
    assert all(len(artifact["sha256"]) == 64 for artifact in record.artifacts.values())
    assert record.details["epochs"] == 3
    page = Path(store.paths("one").report).read_text()
    assert "train_loop" in page
    assert "distml.load(" not in page
    assert drive(job_file, "one", "--inline", resume=True) == 2
    assert "has succeeded: nothing to resume" in capfd.readouterr().err


@pytest.mark.filterwarnings("default")
def test_a_wrong_parameter_is_found_before_there_is_a_run(job_file, store, capfd):
    assert drive(job_file, "one", "--inline", "--", "--typo") == 2

    said = capfd.readouterr().err
    assert "params: train_loop() has no parameter 'lrr'; did you mean 'lr'?" in said
    assert [*store.list()] == []


@pytest.mark.slow
def test_a_killed_driver_is_resumed_to_the_very_weights(job_file, store):
    """SIGKILL in the middle of an epoch, twice; then the same process model to the end."""
    assert _start(job_file, "whole").wait() == 0
    folder = Checkpoints(store.paths("killed").checkpoints)
    for resume, step in ((False, 5), (True, 25)):
        process = _start(job_file, "killed", "--pause", "0.02", resume=resume)
        _wait_until(lambda step=step: max([0, *folder.steps()]) > step, process)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert folder.steps()[-1] < 57
    assert _start(job_file, "killed", resume=True).wait() == 0

    one, other = (_weights(store, run_id) for run_id in ("whole", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    record = store.load("killed")
    assert record.metrics == store.load("whole").metrics
    assert len(record.attempts) == 3


@pytest.mark.slow
def test_a_stopped_driver_leaves_a_checkpoint_of_its_last_step(job_file, store):
    process = _start(job_file, "one", "--pause", "0.02")
    folder = Checkpoints(store.paths("one").checkpoints)
    _wait_until(lambda: len(folder.steps()) > 0, process)
    process.send_signal(signal.SIGTERM)

    assert process.wait() == 143
    assert store.load("one").status is RunStatus.STOPPED
    _, facts = folder.read(folder.steps()[-1])
    assert facts["position"]["step"] == folder.steps()[-1]
    assert "model" in folder.read(folder.steps()[-1])[0]


@pytest.mark.slow
def test_debug_and_local_give_the_same_metrics(job_file, store):
    assert _start(job_file, "local").wait() == 0
    assert drive(job_file, "debug", "--inline") == 0

    assert store.load("debug").metrics == store.load("local").metrics


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_loop_of_a_job_file_reaches_the_workers(job_file, store, monkeypatch):
    # The session's Ray is not the driver's to shut down.
    monkeypatch.setattr(session, "disconnect", lambda: None)

    assert drive(job_file, "two", "--", "--workers", "2") == 0

    assert store.load("two").details["num_workers"] == 2


def _start(job_file, run_id, *arguments, resume=False):
    what = ["--resume"] if resume else [str(job_file)]
    place = ["--storage", str(job_file.parent / "runs"), "--run-id", run_id]
    rest = [] if resume else ["--", *arguments]
    command = [sys.executable, "-m", "distml.driver", *what, *place, "--launcher", "local", *rest]
    return subprocess.Popen(command)


def _wait_until(is_so, process):
    deadline = time.monotonic() + 60
    while not is_so():
        assert process.poll() is None, "the driver ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _weights(store, run_id):
    path = store.load(run_id).artifacts["checkpoint"]["path"]
    last = Checkpoints(store.paths(run_id).checkpoints)
    assert path.startswith("checkpoints/")
    return last.read(last.steps()[-1])[0]["model"]


def _last_state(context):
    state, _ = Checkpoints(str(Path(context.run_uri, "checkpoints"))).latest()
    return state


def _shards(folder, table):
    return distml.write_shards(table, folder, num_shards=1)
