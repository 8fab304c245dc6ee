"""Spaces on a command line: what is read, and that nothing of it is run."""

import pytest

from distml.errors import UserError
from distml.searchline import SearchLine


def read(*texts: str, metric: str | None = "test_score", num_samples: int = 10) -> SearchLine:
    line = SearchLine.read(texts, metric=metric, mode="max", num_samples=num_samples)
    assert line is not None
    return line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr=loguniform(1e-4,1e-1)", ("loguniform", 1e-4, 0.1)),
        ("lr = uniform( -1, 2.5 )", ("uniform", -1, 2.5)),
        ("lr=quniform(0,1,0.1)", ("quniform", 0, 1, 0.1)),
        ("lr=randint(1,9)", ("randint", 1, 9)),
        ("lr=randn(0,1)", ("randn", 0, 1)),
        ("lr=choice(2,3,4)", ("choice", 2, 3, 4)),
        ("lr=choice([2,3])", ("choice", 2, 3)),
        ("lr=choice('a b',None,True)", ("choice", "a b", None, True)),
        ("lr=choice(relu,tanh)", ("choice", "relu", "tanh")),
        ("lr=choice((8,8),(16,))", ("choice", (8, 8), (16,))),
        ("lr=grid(1,2)", ("grid_search", 1, 2)),
        ("--lr=choice(1)", ("choice", 1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_domains_are_those_of_ray_tune(text: str, words: tuple[object, ...]) -> None:
    assert read(text).space == {"lr": words}


def test_names_are_written_as_flags_or_as_parameters() -> None:
    assert list(read("max-depth=choice(1)", "num_rows=choice(2)").space) == [
        "max_depth",
        "num_rows",
    ]


@pytest.mark.parametrize(
    ("texts", "match"),
    [
        (["lr"], "give a parameter and what it may be"),
        (["lr=3"], "'3' is no domain; such as lr=loguniform"),
        (["lr=loguniform(1e-4"], "is no domain"),
        (["lr=__import__('os').system('true')"], "is no domain"),
        (["lr=choice(__import__('os'))"], "is neither a number nor a text"),
        (["lr=choice(open('x'))"], "is neither a number nor a text"),
        (["lr=eval('1')"], "there is no domain eval"),
        (["lr=logunifrom(1,2)"], "did you mean loguniform"),
        (["lr=uniform(1)"], "uniform takes 2 numbers"),
        (["lr=uniform(a,b)"], "uniform takes 2 numbers"),
        (["lr=uniform(low=1,high=2)"], "is no domain"),
        (["lr=uniform(2,1)"], "2 is not below 1"),
        (["lr=loguniform(0,1)"], "loguniform begins above 0"),
        (["lr=choice()"], "nothing to choose from"),
        (["lr=choice(1)", "lr=choice(2)"], "lr is given twice"),
    ],
)
def test_what_is_no_space_is_refused_in_one_line(texts: list[str], match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        read(*texts)
    assert "\n" not in str(caught.value)


def test_search_needs_a_metric_and_a_metric_a_search() -> None:
    with pytest.raises(UserError, match="--search needs --metric"):
        read("lr=choice(1)", metric=None)
    with pytest.raises(UserError, match="--metric test_score belongs to a search"):
        SearchLine.read([], metric="test_score", mode="max", num_samples=10)
    with pytest.raises(UserError, match="--num-samples 0"):
        read("lr=choice(1)", num_samples=0)
    assert SearchLine.read([], metric=None, mode="max", num_samples=10) is None


def test_source_is_python_that_says_the_same() -> None:
    source = read("lr=loguniform(1e-4,1e-1)", "kind=choice('it\\'s',b)").source()
    space = {"lr": ("loguniform", 1e-4, 0.1), "kind": ("choice", "it's", "b")}
    assert f"space={space!r}" in source
    compile(source, "job.py", "exec")


def test_who_searches_is_written_where_it_is_said() -> None:
    options = {"metric": "test_score", "mode": "max", "num_samples": 10}
    line = SearchLine.read(
        ["lr=choice(1)"], searcher="bohb", scheduler="pbt(27)", max_concurrent_trials=2, **options
    )
    assert line is not None
    said = "search='bohb', scheduler='pbt', max_epochs=27, max_concurrent_trials=2"
    assert said in line.source()
    assert "search=" not in read("lr=choice(1)").source().replace("_searched", "")


@pytest.mark.parametrize("text", ["asha", "asha()", "asha(0)", "asha(a)", "asha(9", "asha 9)"])
def test_scheduler_has_to_know_how_many_epochs(text: str) -> None:
    with pytest.raises(UserError, match="--scheduler"):
        SearchLine.read(["lr=choice(1)"], metric="m", mode="max", num_samples=1, scheduler=text)


def test_hyperband_is_refused_with_its_reason() -> None:
    with pytest.raises(UserError, match="hyperband pauses trainings"):
        SearchLine.read(
            ["lr=choice(1)"], metric="m", mode="max", num_samples=1, scheduler="hyperband(9)"
        )


def test_names_are_those_that_searches_know() -> None:
    from distml import searchline
    from distml.tune import deciders, proposers

    assert ("random", "grid", *proposers._PACKAGES) == searchline._SEARCHERS
    # HyperBand is for estimators.
    assert set(searchline._SCHEDULERS) == {*deciders._NAMES} - {"hyperband"}
