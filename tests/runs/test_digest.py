import functools
import linecache
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from distml.errors import UserError
from distml.runs.digest import digest

KNOWN = """
import numpy as np, pyarrow as pa
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from distml.runs.digest import digest

def helper(x):
    return x in {"b", "a", "c"}

def user(x, k=3):
    return helper(x) * k

class Rule:
    limits = frozenset({"x", "y", "z"})
    def apply(self, value):
        return value in self.limits and user(value)

print(digest({"b": [1, 2.5, None, True], "a": {"x", "y", ("z", b"q")}}))
print(digest(np.arange(12.0).reshape(3, 4)))
print(digest([np.array(["p", None], dtype=object), pa.table({"a": [1, None], "b": ["u", "v"]})]))
print(digest((user, Rule, Rule(), lambda v: user(v))))
print(digest(make_pipeline(LogisticRegression(C=2.0, class_weight={"a": 1, "b": 2}))))
print(digest((np.random.RandomState(3), np.random.default_rng(3))))
"""


def test_digests_are_the_same_in_every_process(tmp_path: Path) -> None:
    script = tmp_path / "known.py"
    script.write_text(KNOWN)
    outputs = [
        subprocess.run(
            [sys.executable, str(script)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "12345")
    ]
    assert outputs[0] == outputs[1]
    assert len(set(outputs[0].split())) == 6


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(None, "566b35a3c527bda7", id="none"),
        pytest.param({"b": [1, 2.5], "a": ("x", b"y", True)}, "b7c236bf8d98f978", id="containers"),
        pytest.param(np.arange(6, dtype=np.int32).reshape(2, 3), "551f28dd86c920d6", id="array"),
    ],
)
def test_digests_are_the_same_for_ever(value: object, expected: str) -> None:
    assert digest(value)[:16] == expected


def define(source: str, name: str = "users_module") -> ModuleType:
    """A module of a user: not installed, importable by name."""
    module = ModuleType(name)
    sys.modules[name] = module
    file = f"/nowhere/{name}.py"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(textwrap.dedent(source), file, "exec"), module.__dict__)
    return module


BASE = """
    SCALE = 2

    def helper(x):
        return x * SCALE

    def outer(limit):
        def inner(x):
            return helper(x) < limit
        return inner

    class Parent:
        kind = "a"

        def act(self):
            return self.kind

    class Child(Parent):
        def run(self):
            return helper(1) + len(self.act())

    chosen = outer(3)
"""


@pytest.mark.parametrize("name", ["helper", "chosen", "Child", "outer"])
@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(("return x * SCALE", "return x * SCALE  # why"), id="comment"),
        pytest.param(("def helper", "\n\n    # moved down\n    def helper"), id="lines"),
        pytest.param(('kind = "a"', 'kind    =    "a"'), id="spaces"),
    ],
)
def test_how_code_is_written_down_does_not_matter(name: str, edit: tuple[str, str]) -> None:
    before = digest(getattr(define(BASE), name))
    assert edit[0] in BASE
    assert digest(getattr(define(BASE.replace(*edit), "elsewhere"), name)) == before


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        pytest.param("helper", ("x * SCALE", "x + SCALE"), id="operator"),
        pytest.param("helper", ("SCALE = 2", "SCALE = 3"), id="global-value"),
        pytest.param("chosen", ("outer(3)", "outer(4)"), id="closure-value"),
        pytest.param("chosen", ("x * SCALE", "x - SCALE"), id="function-it-calls"),
        pytest.param("outer", ("< limit", "<= limit"), id="nested-function"),
        pytest.param("helper", ("def helper(x)", "def helper(x, k=1)"), id="default"),
        pytest.param("Child", ("self.act())", "self.act()) + 1"), id="method"),
        pytest.param("Child", ('kind = "a"', 'kind = "b"'), id="attribute-of-a-base"),
        pytest.param("Child", ("return self.kind", "return 'z'"), id="method-of-a-base"),
        pytest.param("Child", ("x * SCALE", "x / SCALE"), id="function-a-method-calls"),
    ],
)
def test_what_code_does_matters(name: str, edit: tuple[str, str]) -> None:
    before = digest(getattr(define(BASE), name))
    assert edit[0] in BASE
    assert digest(getattr(define(BASE.replace(*edit)), name)) != before


def test_code_that_has_run_hot_is_the_same_code() -> None:
    module = define(BASE)
    before = digest(module.Child)
    for _ in range(5000):
        module.Child().run()
    assert digest(module.Child) == before


def test_an_estimator_that_uses_changed_code_has_changed() -> None:
    def wrap(source: str) -> str:
        return digest(make_pipeline(FunctionTransformer(define(source).helper)))

    assert wrap(BASE) == wrap(BASE)
    assert wrap(BASE) != wrap(BASE.replace("x * SCALE", "x - SCALE"))


def test_classes_that_refer_to_each_other_have_one_digest_in_any_order() -> None:
    source = """
        class A:
            def other(self):
                return B
        class B:
            def other(self):
                return A
    """
    one, two = define(source), define(source, "elsewhere")
    assert digest({"a": one.A(), "b": one.B()}) == digest({"b": two.B(), "a": two.A()})
    assert digest(one.A) != digest(define(source.replace("return B", "return 3")).A)


def test_a_closure_of_a_library_counts_with_what_it_closed_over() -> None:
    # itertools-like factories of installed packages give functions that differ in closures only.
    first, second = (np.vectorize(np.exp, otypes=kind) for kind in (["f"], ["d"]))
    assert digest(first) != digest(second)
    assert digest(functools.partial(np.add, 1)) != digest(functools.partial(np.add, 2))
    assert digest(np.exp) != digest(np.log)
    assert digest(re.compile) != digest(re.search)


ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
    | st.complex_numbers()
)  # fmt: skip
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=15,
)


def rebuilt(value: Any) -> Any:
    """An equal value, of other objects and with dicts in another order."""
    if isinstance(value, dict):
        return {key: rebuilt(value[key]) for key in reversed(value)}
    if isinstance(value, list | tuple):
        return type(value)(map(rebuilt, value))
    return value


@given(VALUES)
def test_equal_values_have_equal_digests(value: object) -> None:
    assert digest(rebuilt(value)) == digest(value)


@given(st.lists(ATOMS, min_size=1, max_size=100), st.data())
def test_one_changed_part_changes_the_digest(values: list[object], data: st.DataObject) -> None:
    changed = list(values)
    changed[data.draw(st.integers(0, len(values) - 1))] = ("another",)
    assert digest(changed) != digest(values)
    assert digest([*values, None]) != digest(values)
    assert digest(tuple(values)) != digest(values)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(1, 1.0, id="int-float"),
        pytest.param(1, True, id="int-bool"),
        pytest.param("1", b"1", id="text-bytes"),
        pytest.param(0.0, -0.0, id="signed-zero"),
        pytest.param(["ab", "c"], ["a", "bc"], id="borders"),
        pytest.param(["ab", "c"] * 50, ["a", "bc"] * 50, id="borders-of-many"),
        pytest.param([1, 2] * 50, [1.0, 2.0] * 50, id="many-ints-floats"),
        pytest.param([[1], 2], [[1, 2]], id="nesting"),
        pytest.param({"a": {"b": 1}}, {"a": {}, "b": 1}, id="dict-nesting"),
        pytest.param({1, 2}, frozenset({1, 2}), id="set-frozenset"),
        pytest.param(np.zeros(4), np.zeros((2, 2)), id="shape"),
        pytest.param(np.zeros(4), np.zeros(4, np.float32), id="dtype"),
        pytest.param(np.zeros(0), np.zeros((0, 3)), id="empty-shape"),
        pytest.param(pa.table({"a": [1]}), pa.table({"b": [1]}), id="arrow-name"),
        pytest.param(pa.table({"a": [None, 0]}), pa.table({"a": [0, 0]}), id="arrow-null"),
        pytest.param(pa.table({"a": ["x", ""]}), pa.table({"a": ["x", None]}), id="null-text"),
        pytest.param(
            pd.DataFrame({"a": [1]}, index=[0]), pd.DataFrame({"a": [1]}, index=[1]), id="index"
        ),
        pytest.param(LogisticRegression(), LogisticRegression(C=2), id="parameter"),
    ],
)  # fmt: skip
def test_what_differs_in_kind_or_content_differs(one: object, other: object) -> None:
    assert digest(one) != digest(other)


@given(
    hnp.arrays(
        hnp.scalar_dtypes(),
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
    )
)
def test_the_layout_of_an_array_does_not_matter(array: np.ndarray[Any, Any]) -> None:
    expected = digest(array)
    wide = np.repeat(array, 2, axis=-1)
    assert digest(np.asfortranarray(array)) == expected
    assert digest(wide[..., ::2]) == expected
    assert digest(array.astype(array.dtype.newbyteorder())) == expected


def test_a_large_transposed_array_is_hashed_in_blocks_to_the_same() -> None:
    array = np.random.default_rng(0).random((3000, 700))
    assert digest(np.asfortranarray(array)) == digest(array)
    assert digest(array[:, :699]) == digest(array[:, :699].copy())


def test_gaps_in_records_do_not_matter() -> None:
    kind = np.dtype({"names": ["a", "b"], "formats": ["u1", "f8"], "offsets": [0, 8]})
    memory = bytearray(b"\xff" * 48)
    one, two = np.zeros(3, kind), np.frombuffer(memory, kind)
    two["a"], two["b"] = 0, 0.0
    assert memory.count(0xFF) == 3 * 7
    assert digest(one) == digest(two)


@given(st.lists(st.integers(0, 9) | st.none(), min_size=1), st.data())
@pytest.mark.parametrize(
    "kind",
    [
        pa.int32(), pa.float64(), pa.string(), pa.large_binary(), pa.bool_(), pa.timestamp("ms"),
        pa.dictionary(pa.int8(), pa.string()), pa.list_(pa.int16()), pa.decimal128(9, 2),
        pa.struct([("x", pa.int8()), ("y", pa.string())]),
    ],
    ids=str,
)  # fmt: skip
def test_chunks_and_slices_of_arrow_do_not_matter(
    kind: pa.DataType, numbers: list[int | None], data: st.DataObject
) -> None:
    column = pa.array([None if n is None else _as(kind, n) for n in numbers], kind)
    cut = data.draw(st.integers(0, len(numbers)))
    padded = pa.concat_arrays([column[:1], column, column[:1]])[1:-1]
    whole = pa.table({"c": column})
    expected = digest(whole)
    assert digest(pa.table({"c": pa.chunked_array([column[:cut], column[cut:]])})) == expected
    assert digest(pa.table({"c": padded})) == expected
    assert digest(whole.replace_schema_metadata({"note": "x"})) == expected
    changed = pa.array([*column.to_pylist()[:-1], _as(kind, 11)], kind)
    assert (digest(pa.table({"c": changed})) == expected) == changed.equals(column)


def _as(kind: pa.DataType, number: int) -> object:
    if pa.types.is_struct(kind):
        return {"x": number, "y": str(number)}
    if pa.types.is_list(kind):
        return [number] * (number % 3)
    if pa.types.is_boolean(kind):
        return number > 4
    is_text = pa.types.is_string(kind) or pa.types.is_dictionary(kind)
    if is_text or pa.types.is_large_binary(kind):
        return str(number) if is_text else str(number).encode()
    return number


def test_a_frame_is_told_by_its_values_whatever_their_storage() -> None:
    def frame() -> pd.DataFrame:
        return pd.DataFrame(
            {
                "number": [1.5, 2.5],
                "text": ["a", None],
                "category": pd.Categorical(["u", "v"]),
                "time": pd.to_datetime(["2020-01-01", "2020-01-02"], utc=True),
                "nullable": pd.array([1, None], dtype="Int64"),
                "mixed": pd.Series([1, "x"], dtype=object),
            }
        )

    expected = digest(frame())
    assert digest(frame()) == expected
    assert digest(pd.concat([frame(), frame()]).iloc[:2].set_index(pd.RangeIndex(2))) == expected
    for column in frame().columns:
        changed = frame()
        changed[column] = changed[column].iloc[[1, 0]].to_numpy()
        assert digest(changed) != expected, column
    assert digest(frame()["number"]) != digest(frame()["number"].rename("other"))
    levels = pd.MultiIndex.from_product([["a", "b"], [1, 2]])
    assert digest(levels) == digest(levels.copy()) != digest(levels.swaplevel())


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "dok", "dia", "bsr"])
def test_sparse_entries_may_be_in_any_order(kind: str) -> None:
    rows, columns, values = [0, 2, 1, 2], [1, 0, 2, 0], [1.0, 2.0, 3.0, 4.0]
    shuffled = sp.coo_array((values[::-1], (rows[::-1], columns[::-1])), shape=(3, 3))
    plain = sp.coo_array((values, (rows, columns)), shape=(3, 3))
    assert digest(plain.asformat(kind)) == digest(shuffled.asformat(kind))
    assert digest(plain.asformat(kind)) != digest((2 * plain).asformat(kind))


def test_random_states_are_told_by_where_they_are() -> None:
    for make in (np.random.RandomState, np.random.default_rng):
        one, two = make(1), make(1)
        assert digest(one) == digest(two)
        one.random()
        assert digest(one) != digest(two)


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(3, random_state=0),
        HistGradientBoostingClassifier(max_iter=2, random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression()),
        StackingClassifier([("f", RandomForestClassifier(2, random_state=0))], cv=2),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_a_fitted_estimator_is_told_by_what_it_learnt(estimator: Any) -> None:
    import cloudpickle

    X, y = make_classification(80, random_state=0)
    bare = digest(estimator)
    fitted = digest(estimator.fit(X, y))
    assert fitted != bare
    assert digest(cloudpickle.loads(cloudpickle.dumps(estimator))) == fitted
    assert digest(estimator.fit(X, y)) == fitted
    assert digest(estimator.fit(X[:60], y[:60])) != fitted


def test_a_value_that_contains_itself_has_a_digest() -> None:
    one: list[Any] = [1]
    one.append(one)
    two: list[Any] = [1]
    two.append(two)
    assert digest(one) == digest(two)
    assert digest(one) != digest([1, [1]])


def test_what_cannot_be_pickled_is_refused_by_name() -> None:
    import threading

    with pytest.raises(UserError, match=r"cannot tell lock .* by its content"):
        digest({"a": threading.Lock()})


def test_a_tensor_is_told_by_dtype_shape_and_content() -> None:
    torch = pytest.importorskip("torch")
    expected = digest(torch.arange(6.0).reshape(2, 3))
    assert digest(torch.arange(6.0).reshape(3, 2).T.contiguous().T.reshape(2, 3)) == expected
    assert digest(torch.arange(6.0)) != expected
    assert digest(torch.arange(6.0).reshape(2, 3).to(torch.bfloat16)) != expected
    torch.manual_seed(0)
    module = torch.nn.Linear(2, 1)
    same = torch.nn.Linear(2, 1)
    assert digest(module) != digest(same)
    same.load_state_dict(module.state_dict())
    assert digest(module) == digest(same)
