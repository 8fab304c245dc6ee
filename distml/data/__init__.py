"""Sharded Arrow data: what there is, how it is written, split, and turned into a matrix.

Names are resolved on first use, so that a driver that only opens a dataset does not pay for
scikit-learn.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distml.data.dataset import Shard, ShardedDataset
    from distml.data.encode import Encoder
    from distml.data.folds import bootstrap_rows, fold_rows
    from distml.data.matrix import as_matrix
    from distml.data.order import MemoryOrder, StreamOrder
    from distml.data.parts import divide, rows_of_part, sides_of
    from distml.data.ragged import RaggedArray
    from distml.data.rowhash import hash_rows
    from distml.data.rule import evaluate_rule, rule_columns
    from distml.data.selection import Selection
    from distml.data.split import ByGroup, ByHash, ByTime, Split, SplitRule, Stratified
    from distml.data.statistics import Summary
    from distml.data.stream import StreamReader
    from distml.data.tables import as_table
    from distml.data.writer import write_shards

__all__ = [
    "ByGroup",
    "ByHash",
    "ByTime",
    "Encoder",
    "MemoryOrder",
    "RaggedArray",
    "Selection",
    "Shard",
    "ShardedDataset",
    "Split",
    "SplitRule",
    "Stratified",
    "StreamOrder",
    "StreamReader",
    "Summary",
    "as_matrix",
    "as_table",
    "bootstrap_rows",
    "divide",
    "evaluate_rule",
    "fold_rows",
    "hash_rows",
    "rows_of_part",
    "rule_columns",
    "sides_of",
    "write_shards",
]

_HOME = {
    "ByGroup": "split",
    "ByHash": "split",
    "ByTime": "split",
    "Encoder": "encode",
    "MemoryOrder": "order",
    "RaggedArray": "ragged",
    "Selection": "selection",
    "Shard": "dataset",
    "ShardedDataset": "dataset",
    "Split": "split",
    "SplitRule": "split",
    "Stratified": "split",
    "StreamOrder": "order",
    "StreamReader": "stream",
    "Summary": "statistics",
    "as_matrix": "matrix",
    "as_table": "tables",
    "bootstrap_rows": "folds",
    "divide": "parts",
    "evaluate_rule": "rule",
    "fold_rows": "folds",
    "hash_rows": "rowhash",
    "rows_of_part": "parts",
    "rule_columns": "rule",
    "sides_of": "parts",
    "write_shards": "writer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
