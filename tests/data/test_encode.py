import datetime as dt
import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from distml.data import Encoder, write_shards
from distml.errors import DataError, UserError


def mixed(n, seed=0):
    rng = np.random.default_rng(seed)

    def gaps(values):
        return pa.array(values, mask=rng.random(n) < 0.1)

    return pa.table(
        {
            "number": gaps(rng.normal(5, 3, n)),
            "integer": gaps(rng.integers(-50, 50, n)),
            "flag": gaps(rng.random(n) < 0.3),
            "city": gaps(rng.choice(["JFK", "LGA", "EWR"], n)),
            "plane": gaps(np.array([f"N{i:03d}" for i in rng.integers(0, 60, n)])),
            "tail": gaps(np.array([f"T{i}" for i in rng.integers(0, 900, n)])),
            "note": gaps(
                np.array([" ".join(rng.choice(list("abcdefgh"), 6)) + f" w{i}" for i in range(n)])
            ),
            "day": gaps(rng.integers(0, 20_000, n).astype("datetime64[D]")),
            "at": gaps(rng.integers(0, 2**30, n).astype("datetime64[s]")),
            "constant": pa.array(np.full(n, 7)),
            "nothing": pa.nulls(n, pa.float64()),
        }
    )


def state(encoder):
    return pickle.dumps((encoder.features_, encoder.families_, list(encoder.feature_names_in_)))


def test_matrix_is_float32_contiguous_and_finite_by_default():
    encoder = Encoder(text_features=16)
    X = encoder.fit_transform(mixed(2000))
    assert X.dtype == np.float32
    assert X.flags.c_contiguous
    assert X.shape == (2000, len(encoder.get_feature_names_out()))
    assert np.isfinite(X).all()
    assert len(set(encoder.get_feature_names_out())) == X.shape[1]


def test_columns_are_encoded_by_what_they_are():
    encoder = Encoder().fit(mixed(2000))
    kinds = {feature.source: type(feature).__name__ for feature in encoder.features_}
    assert kinds == {
        "number": "Number",
        "integer": "Number",
        "flag": "Number",
        "city": "OneHot",
        "plane": "Ordinal",
        "tail": "Hashed",
        "note": "Text",
        "day": "PlainDate",
        "at": "PlainDate",
        "constant": "Number",
        "nothing": "Number",
    }


@settings(deadline=None, max_examples=25)
@given(cuts=st.lists(st.integers(0, 400), max_size=4), seed=st.integers(0, 3), data=st.data())
def test_shards_in_any_order_fit_the_same_encoder(cuts, seed, data):
    table = mixed(400, seed)
    edges = sorted({0, 400, *cuts})
    shards = [table.slice(a, b - a) for a, b in itertools.pairwise(edges)]
    shards = data.draw(st.permutations(shards))
    encoder = Encoder(text_features=32, dates="cyclic")
    assert state(clone(encoder).fit_shards(shards)) == state(clone(encoder).fit(table))


def test_shards_are_fitted_by_any_map_from_a_dataset_or_from_functions(tmp_path):
    table = mixed(500)
    dataset = write_shards(table, tmp_path, num_shards=4)
    whole = state(Encoder(text_features=32).fit(table))
    readers = [partial(dataset.read_shard, i) for i in range(4)]
    with ThreadPoolExecutor(2) as pool:
        for shards in (dataset, readers, iter([table.slice(0, 99), table.slice(99)])):
            assert state(Encoder(text_features=32).fit_shards(shards, map=pool.map)) == whole


@pytest.mark.parametrize("scale", [True, False])
def test_numbers_agree_with_scikit_learn(scale):
    table = mixed(3000).select(["number", "integer"])
    X = Encoder(missing="keep", scale=scale).fit_transform(table)
    frame = table.to_pandas()
    judge = StandardScaler().fit_transform(frame) if scale else frame.to_numpy()
    np.testing.assert_allclose(X, judge, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(("missing", "filled"), [("mean", 2.0), (-9, -9.0), ("keep", np.nan)])
def test_missing_numbers_are_filled_as_told(missing, filled):
    X = Encoder(missing=missing, scale=False, indicator=True).fit_transform({"x": [1, None, 3]})
    np.testing.assert_array_equal(X, np.array([[1, 0], [filled, 1], [3, 0]], dtype=np.float32))


def test_missing_flags_are_their_share():
    X = Encoder().fit_transform({"x": [True, None, True, False, False]})
    assert X[:, 0].tolist() == [1.0, 0.5, 1.0, 0.0, 0.0]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.none() | st.text(max_size=3), min_size=1, max_size=40), st.data())
def test_one_hot_agrees_with_scikit_learn(values, data):
    seen = [value for value in values if value is not None] or ["a"]
    unseen = data.draw(st.lists(st.none() | st.text(max_size=3), max_size=10))
    judge = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    judge.fit(np.array(seen, dtype=object)[:, None])
    encoder = Encoder(kinds={"c": "onehot"}).fit({"c": seen})
    test = [*seen, *unseen]
    known = np.array([value if value is not None else "\0none" for value in test], dtype=object)
    np.testing.assert_array_equal(
        encoder.transform({"c": pa.array(test, pa.string())}), judge.transform(known[:, None])
    )
    names = judge.get_feature_names_out(["c"])
    assert encoder.get_feature_names_out().tolist() == names.tolist()


@pytest.mark.parametrize("missing", ["keep", "mean"])
def test_ordinal_agrees_with_scikit_learn(missing):
    column = mixed(500)["plane"]
    judge = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=-1,
        encoded_missing_value=np.nan if missing == "keep" else -1,
    )
    expected = judge.fit_transform(column.to_pandas().to_numpy(object)[:, None])
    encoder = Encoder(kinds={"plane": "ordinal"}, scale=False, missing=missing)
    np.testing.assert_array_equal(encoder.fit_transform({"plane": column}), expected)
    assert encoder.transform({"plane": ["unseen", "N000"]}).tolist() == [[-1], [0]]


def test_scaled_ordinal_has_mean_zero_and_deviation_one():
    X = Encoder(kinds={"p": "ordinal"}).fit_transform({"p": list("aabbbcdddd")})
    assert X.mean() == pytest.approx(0, abs=1e-6)
    assert X.std() == pytest.approx(1, rel=1e-6)


def test_hashed_category_has_one_bucket_for_each_value_seen_or_not():
    encoder = Encoder(kinds={"t": "hashed"}, hash_features=8).fit({"t": ["a", "b"]})
    X = encoder.transform({"t": ["a", "never seen", None, "a"]})
    assert X.sum(axis=1).tolist() == [1, 1, 0, 1]
    assert np.array_equal(X[0], X[3])


def test_numbers_and_dates_can_be_categories():
    table = {
        "n": [3, 1, None, 3],
        "d": [dt.date(2020, 1, 1), None] * 2,
        "f": [True, False, None, True],
    }
    encoder = Encoder(kinds={"n": "category", "d": "onehot", "f": "onehot"}).fit(table)
    assert encoder.get_feature_names_out().tolist() == [
        "n_1.0",
        "n_3.0",
        "d_2020-01-01",
        "f_0.0",
        "f_1.0",
    ]
    assert encoder.transform(table)[:, :2].tolist() == [[0, 1], [1, 0], [0, 0], [0, 1]]
    # The same numbers as pandas gives them, integers with a null as floats.
    assert np.array_equal(encoder.transform(pd.DataFrame(table)), encoder.transform(table))


@pytest.mark.parametrize(
    ("num_values", "kind"), [(4, "OneHot"), (5, "Ordinal"), (7, "Ordinal"), (8, "Hashed")]
)
def test_category_is_encoded_by_its_cardinality(num_values, kind):
    column = {"c": [f"v{i % num_values}" for i in range(100)]}
    encoder = Encoder(max_onehot=4, max_ordinal=7).fit(column)
    assert type(encoder.features_[0]).__name__ == kind


def test_dates_are_plain_or_cyclic():
    table = {"at": [dt.datetime(2013, 12, 31, 6), dt.datetime(2014, 1, 1, 18), None]}
    plain = Encoder(scale=False, missing="keep").fit(table)
    parts = ["at_year", "at_month", "at_day", "at_weekday", "at_hour"]
    assert plain.get_feature_names_out().tolist() == parts
    np.testing.assert_array_equal(
        plain.transform(table), [[2013, 11, 30, 1, 6], [2014, 0, 0, 2, 18], [np.nan] * 5]
    )
    cyclic = Encoder(dates="cyclic", scale=False).fit(table)
    X = cyclic.transform(table)
    names = cyclic.get_feature_names_out().tolist()
    assert names[:3] == ["at_year", "at_month_sin", "at_month_cos"]
    pairs = X[:, 1:].reshape(3, 4, 2)
    np.testing.assert_allclose(np.hypot(pairs[:2, :, 0], pairs[:2, :, 1]), 1.0, rtol=1e-6)
    assert np.linalg.norm(pairs[0, 0] - pairs[1, 0]) < 0.6  # December is next to January
    assert not pairs[2].any()


def test_date_without_a_clock_has_no_hour():
    encoder = Encoder().fit({"d": [dt.date(2020, 1, 1)]})
    assert "d_hour" not in encoder.get_feature_names_out()


@pytest.mark.parametrize("missing", ["mean", "keep"])
def test_columns_without_values_or_without_change_are_constant(missing):
    table = pa.table(
        {"nothing": pa.nulls(3), "empty": pa.array([None] * 3, pa.string()), "same": [4] * 3}
    )
    encoder = Encoder(missing=missing).fit(table)
    expected = [0 if missing == "mean" else np.nan] * 2 + [0]
    np.testing.assert_array_equal(encoder.transform(table), [expected] * 3)
    later = {"nothing": ["text"], "empty": [5], "same": [4]}
    np.testing.assert_array_equal(encoder.transform(later), [expected])


@pytest.mark.parametrize(
    "kind", ["onehot", "ordinal", "hashed", "text", "category", "date", "number"]
)
def test_column_without_values_can_be_of_any_kind(kind):
    encoder = Encoder(kinds={"x": kind}, text_features=4).fit({"x": pa.nulls(2), "y": [1, 2]})
    assert np.isfinite(encoder.transform({"x": pa.nulls(2), "y": [1, 2]})).all()


FORMS = {
    "table": lambda table: table,
    "chunks": lambda table: pa.concat_tables([table.slice(0, 7), table.slice(7)]),
    "pandas": lambda table: table.to_pandas(),
    "dict": lambda table: {name: table[name] for name in reversed(table.column_names)},
    "rows": lambda table: table.to_pylist(),
    "dictionary": lambda table: table.set_column(3, "city", table["city"].dictionary_encode()),
    "large": lambda table: table.set_column(3, "city", table["city"].cast(pa.large_string())),
    "more columns": lambda table: table.append_column("label", table["number"]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_table_gives_the_same_matrix(form):
    table = mixed(300)
    encoder = Encoder(text_features=16).fit(table)
    np.testing.assert_array_equal(encoder.transform(FORMS[form](table)), encoder.transform(table))


def test_rows_alone_give_the_rows_of_the_whole():
    table = mixed(200)
    encoder = Encoder(text_features=16).fit(table)
    whole = encoder.transform(table)
    for i, row in enumerate(table.slice(0, 20).to_pylist()):
        np.testing.assert_array_equal(encoder.transform([row])[0], whole[i])


def test_long_tables_are_encoded_block_by_block():
    table = pa.table({"x": np.arange(100_000), "c": [f"v{i % 3}" for i in range(100_000)]})
    X = Encoder(scale=False).fit_transform(table)
    assert np.array_equal(X[:, 0], np.arange(100_000))
    assert np.array_equal(X[:, 1:].argmax(axis=1), np.arange(100_000) % 3)


def test_numbers_beyond_float32_become_its_largest():
    encoder = Encoder(scale=False).fit({"x": [1e300, -1e300]})
    limit = np.finfo(np.float32).max
    assert encoder.transform({"x": [1e300, -np.inf]})[:, 0].tolist() == [limit, -limit]
    assert np.isfinite(Encoder().fit_transform({"x": [1.7e308, -1.7e308]})).all()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param({"city": ["JFK"]}, "no column 'x1'", id="missing"),
        pytest.param({"X1": [1.0], "city": ["JFK"]}, "did you mean 'X1'", id="renamed"),
        pytest.param(
            {"x1": ["a"], "city": ["JFK"]},
            "'x1' was a number .* is a string",
            id="number to string",
        ),
        pytest.param(
            {"x1": [1.0], "city": [1]}, "'city' was a string .* is a number", id="string to number"
        ),
        pytest.param(
            {"x1": [dt.date(2020, 1, 1)], "city": ["JFK"]},
            "'x1' was a number .* is a date",
            id="number to date",
        ),
        pytest.param({"x1": [[1.0]], "city": ["JFK"]}, "'x1' has type list", id="nested"),
    ],
)
def test_changed_columns_are_named(table, message):
    encoder = Encoder().fit({"x1": [1.0, 2.0], "city": ["JFK", "LGA"]})
    with pytest.raises(DataError, match=message):
        encoder.transform(table)


@pytest.mark.parametrize(
    "column",
    [[True], [1], [1.0], [None], pa.nulls(1)],
    ids=["flag", "integer", "float", "none", "null"],
)
def test_numbers_and_flags_may_take_each_others_place(column):
    for values in ([1.5, 2.5], [True, False]):
        assert Encoder().fit({"x": values}).transform({"x": column}).shape == (1, 1)


@pytest.mark.parametrize(
    ("options", "table", "error", "message"),
    [
        pytest.param({}, {"x": []}, DataError, "no rows", id="no rows"),
        pytest.param(
            {"kinds": {"x": "drop"}}, {"x": [1]}, DataError, "no columns", id="no columns"
        ),
        pytest.param({}, {"x": [1.0, np.inf]}, DataError, "'x' has 1 infinite", id="infinite"),
        pytest.param({}, {"x": [[1]]}, DataError, "'x' has type list", id="nested"),
        pytest.param(
            {"kinds": {"y": "text"}},
            {"yy": [1]},
            UserError,
            "did you mean 'yy'",
            id="unknown column",
        ),
        pytest.param(
            {"kinds": {"x": "texts"}}, {"x": [1]}, UserError, "'texts'", id="unknown kind"
        ),
        pytest.param(
            {"kinds": {"x": "text"}}, {"x": [1]}, UserError, "cannot be a text", id="kind and type"
        ),
        pytest.param({"missing": "median"}, {"x": [1]}, UserError, "'median'", id="missing"),
        pytest.param({"dates": "round"}, {"x": [1]}, UserError, "'round'", id="dates"),
        pytest.param(
            {"hash_features": 0}, {"x": [1]}, UserError, "hash_features=0", id="no buckets"
        ),
        pytest.param(
            {"kinds": {"x": "onehot"}},
            {"x": [str(i) for i in range(10_001)]},
            UserError,
            "too many values",
            id="too many",
        ),
    ],
)
def test_senseless_fits_are_refused(options, table, error, message):
    with pytest.raises(error, match=message):
        Encoder(**options).fit(table)


def test_no_shards_are_refused():
    with pytest.raises(DataError, match="no shard"):
        Encoder().fit_shards([])


def test_dropping_a_column_that_is_not_there_is_fine():
    assert Encoder(kinds={"label": "drop"}).fit({"x": [1, 2]}).n_features_in_ == 1


def test_unfitted_encoder_says_so():
    with pytest.raises(NotFittedError):
        Encoder().transform({"x": [1]})
    with pytest.raises(NotFittedError):
        Encoder().get_feature_names_out()


def test_encoder_is_a_good_citizen_of_scikit_learn():
    encoder = Encoder(kinds={"x": "category"}, max_onehot=3)
    assert clone(encoder).get_params() == encoder.get_params()
    assert encoder.set_params(scale=False).scale is False
    encoder.fit({"x": ["a", "b"]})
    assert encoder.feature_names_in_.tolist() == ["x"]
    assert not hasattr(clone(encoder), "features_")
    frame = encoder.set_output(transform="pandas").transform(pd.DataFrame({"x": ["b"]}, index=[5]))
    assert frame.columns.tolist() == ["x_a", "x_b"]
    assert frame.index.tolist() == [5]
    assert "Encoder" in repr(encoder)


ON_PURPOSE = {
    "check_n_features_in_after_fitting": "columns not seen at fit are ignored",
    "check_transformer_general": "columns not seen at fit are ignored",
    "check_complex_data": "refused by a DataError, which is no ValueError",
    "check_estimators_empty_data_messages": "refused by a DataError, which is no ValueError",
    "check_fit1d": "refused by a DataError, which is no ValueError",
    "check_fit2d_predict1d": "refused by a DataError, which is no ValueError",
    "check_estimator_sparse_tag": "refused by a DataError, which is no ValueError",
    "check_estimator_sparse_array": "refused by a DataError, which is no ValueError",
    "check_estimator_sparse_matrix": "refused by a DataError, which is no ValueError",
    "check_transformer_data_not_an_array": "tables are wanted, not whatever has __array__",
    "check_transformer_preserve_dtypes": "the matrix is float32",
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_checks_pass_but_for_those_that_want_arrays():
    results = check_estimator(Encoder(), expected_failed_checks=ON_PURPOSE, on_skip=None)
    assert sum(result["status"] == "passed" for result in results) >= 30
    assert {r["check_name"] for r in results if r["status"] == "xfail"} == set(ON_PURPOSE)


def test_array_input_is_encoded_too():
    X = np.random.default_rng(0).normal(size=(50, 3))
    np.testing.assert_allclose(
        Encoder().fit_transform(X), StandardScaler().fit_transform(X), rtol=1e-5
    )


def test_feature_selection_is_a_step_behind_it():
    table = mixed(1000).drop_columns(["constant", "nothing"])
    y = table["number"].to_pandas().gt(5).to_numpy()
    pipeline = make_pipeline(Encoder(text_features=16), SelectKBest(k=2), LogisticRegression())
    pipeline.fit(table, y)
    assert "number" in pipeline[:-1].get_feature_names_out()
    assert pipeline.score(table, y) > 0.9


def test_fitted_encoder_travels():
    table = mixed(300)
    encoder = Encoder(text_features=16).fit(table)
    copy = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(copy.transform(table), encoder.transform(table))


def test_skops_needs_to_trust_nothing_but_distml():
    sio = pytest.importorskip("skops.io")
    table = mixed(300)
    encoder = Encoder(text_features=16, dates="cyclic", kinds={"integer": "onehot"}).fit(table)
    data = sio.dumps(encoder)
    unknown = sio.get_untrusted_types(data=data)
    assert all(name.startswith("distml.data.") for name in unknown)
    copy = sio.loads(data, trusted=unknown)
    np.testing.assert_array_equal(copy.transform(table), encoder.transform(table))
    assert copy.get_feature_names_out().tolist() == encoder.get_feature_names_out().tolist()
