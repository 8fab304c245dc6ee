"""The source of a first job, from what was found in the data.

One decision: names and values of the data enter the code as `repr` alone, so that no name can end a
text or become code.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distml.verbs.job_header import header
from distml.verbs.job_template import JOB, LABELLED, MEMBER_IMPORTS, MEMBERS, fill

if TYPE_CHECKING:
    from distml.data.inspect import Inspection

__all__ = ["file_stem", "job_source", "quoted"]

_FEW_ROWS = 500
_MANY_ROWS = 200_000
_FRACTION = 0.2
_METRICS = {
    "two": ("roc_auc", "average_precision", "neg_log_loss", "accuracy"),
    "two, uneven": ("average_precision", "roc_auc", "neg_log_loss", "balanced_accuracy"),
    "more": ("accuracy", "f1_macro", "roc_auc_ovr", "neg_log_loss"),
    "more, uneven": ("f1_macro", "balanced_accuracy", "accuracy", "neg_log_loss"),
    "numbers": ("r2", "neg_root_mean_squared_error", "neg_mean_absolute_error"),
}


def job_source(found: "Inspection", *, data: str, path: str) -> str:
    """Write a job file.

    Args:
        found: what the data holds.
        data: where it is, as the user gave it.
        path: where the file will be, for the commands in its header.

    Returns:
        Python source that runs as it is.

    Raises:
        Nothing.
    """
    stacks = found.num_rows >= _FEW_ROWS
    texts = {
        **header(found, data=data, path=path, stacks=stacks),
        **_constants(found),
        **_signature(found, data, stacks),
        **_fit(found, stacks),
        **_members(found, stacks),
    }
    return fill(JOB, {**texts, "labelled": _labelled(found, texts)})


def file_stem(data: str, label: str) -> str:
    """A name for the job file of a dataset and a label: letters, digits and `_` alone.

    Args:
        data: path or URI of the data.
        label: its label.

    Returns:
        Such as `diamonds_price`.

    Raises:
        Nothing.
    """
    path = data.partition("?")[0] if "://" in data else data
    folders = [part for part in Path(path).parts if not re.search(r"[*?\[]", part)]
    name = Path(folders[-1] if folders else "data").name.partition(".")[0]
    return re.sub(r"[\W_]+", "_", f"{name}_{label}", flags=re.ASCII).strip("_").lower() or "first"


def quoted(value: Any) -> str:
    """A value as Python writes it, text in double quotes where that needs no escape.

    Args:
        value: text, a number or a boolean.

    Returns:
        Source text of one line.

    Raises:
        Nothing.
    """
    if isinstance(value, Decimal):
        value = int(value) if value == int(value) else float(value)
    written = repr(value)
    if written.startswith("'") and '"' not in written:
        return f'"{written[1:-1]}"'
    return written


def _constants(found: "Inspection") -> dict[str, str]:
    readable = [column.name for column in found.columns if column.family != "nested"]
    dropped = [column for column in found.dropped if column.family != "nested"]
    lines = [f"{quoted(column.name)}: {quoted(column.note)}" for column in dropped]
    return {
        "label": quoted(found.label.name),
        "rare": _listed(
            "Classes with too few rows to be learnt.", "RARE", map(quoted, found.label.rare)
        ),
        "columns": _listed(
            "The columns to read; the others have types that cannot be encoded.",
            "COLUMNS",
            map(quoted, [*readable, found.label.name] if _has_nested(found) else ()),
        ),
        "dropped": _listed(
            "What the model does not see, and why; take a line out to learn from it.",
            "DROPPED",
            lines,
            brackets="{}",
        ),
    }


def _listed(comment: str, name: str, values: Iterable[str], brackets: str = "()") -> str:
    """A constant with a value a line, under its comment; nothing for no values."""
    lines = [f"    {value}," for value in values]
    if not lines:
        return ""
    if brackets == "()" and len(lines) == 1:
        return f"# {comment}\n{name} = ({lines[0].strip()})"
    return "\n".join([f"# {comment}", f"{name} = {brackets[0]}", *lines, brackets[1]])


def _signature(found: "Inspection", data: str, stacks: bool) -> dict[str, str]:
    cleans, remote = found.label.needs_cleaning, "://" in data
    folder = quoted(f"data/{file_stem(data, found.label.name)}_labelled")
    return {
        "import_path": "from pathlib import Path" if cleans or not remote else "",
        "import_arrow": "import pyarrow as pa\nimport pyarrow.compute as pc" if cleans else "",
        "data_type": "str" if remote else "Path",
        "data": quoted(data) if remote else f"Path({quoted(data)})",
        "cv_parameter": "cv: int = 3," if stacks else "",
        "cv_help": "cv: Folds of the out-of-fold predictions." if stacks else "",
        "shards_parameter": f"shards: Path = Path({folder})," if cleans else "",
        "shards_help": "shards: Folder for the rows that have a label to learn." if cleans else "",
    }


def _fit(found: "Inspection", stacks: bool) -> dict[str, str]:
    return {
        "dataset": _dataset(found),
        "estimator": "stack(cv=cv, seed=seed)" if stacks else "vote(seed=seed)",
        "test_sets": "\n".join(f'"{name}": {rule},' for name, rule in _test_sets(found).items()),
        "encoder": _encoder(found),
        "metrics": ", ".join(map(quoted, _metrics(found))),
        "rule": f"rule={quoted(found.rule)}," if found.rule else "",
    }


def _encoder(found: "Inspection") -> str:
    options = 'missing="keep", scale=False'
    if not any(column.family != "nested" for column in found.dropped):
        return f"encoder=distml.Encoder({options}),"
    kinds = 'kinds=dict.fromkeys(DROPPED, "drop")'
    return f"encoder=distml.Encoder(\n    {kinds}, {options}\n),"


def _dataset(found: "Inspection") -> str:
    if found.label.needs_cleaning:
        return "labelled(data, shards)"
    return _opened(found) if _has_nested(found) else "data"


def _opened(found: "Inspection") -> str:
    columns = ", columns=COLUMNS" if _has_nested(found) else ""
    return f"distml.ShardedDataset.open(data{columns})"


def _has_nested(found: "Inspection") -> bool:
    return any(column.family == "nested" for column in found.columns)


def _test_sets(found: "Inspection") -> dict[str, str]:
    time, group = found.split.time, found.split.group
    rule = f"distml.Stratified(LABEL, {_FRACTION})" if found.label.classes else ""
    hold_out = rule or f"distml.ByHash({_FRACTION})"
    if group is not None:
        hold_out = f"distml.ByGroup({quoted(group)}, {_FRACTION})"
    latest = f"distml.ByTime({quoted(time)}, fraction={_FRACTION})"
    return {**({"latest": latest} if time is not None else {}), "hold_out": hold_out}


def _metrics(found: "Inspection") -> tuple[str, ...]:
    if not found.label.classes:
        return _METRICS["numbers"]
    number = "two" if len(found.label.classes) == 2 else "more"
    return _METRICS[number + (", uneven" if found.label.is_imbalanced else "")]


def _members(found: "Inspection", stacks: bool) -> dict[str, str]:
    task, by_time = found.label.task, found.split.time is not None
    kind = "StratifiedKFold" if task == "classification" else "KFold"
    shuffled = f"cv={kind}(cv, shuffle=True, random_state=seed),"
    own = {
        "forest": _forest(found.num_rows),
        # Rows are often in order of time: then blocks of them are other times.
        "folds": "cv=cv,  # blocks of rows, as they stand in the data" if by_time else shuffled,
        "import_folds": f"from sklearn.model_selection import {kind}"
        if stacks and not by_time
        else "",
    }
    return {
        "import_members": fill(MEMBER_IMPORTS[task], own),
        "members": fill(MEMBERS[task, stacks], own),
    }


def _forest(num_rows: int) -> str:
    """Trees that grow with the rows, but not as fast."""
    if num_rows < _FEW_ROWS:
        return "200, min_samples_leaf=2"
    return "100, min_samples_leaf=5" if num_rows < _MANY_ROWS else "60, min_samples_leaf=30"


def _labelled(found: "Inspection", texts: Mapping[str, str]) -> str:
    label = found.label
    if not label.needs_cleaning:
        return ""
    known = "is_finite" if label.is_floating else "is_valid"
    rare = (
        "rare = pa.array(RARE, table.schema.field(LABEL).type)\n"
        "table = table.filter(pc.invert(pc.is_in(table[LABEL], value_set=rare)))"
    )
    unusable = f"table = table.filter(pc.{known}(table[LABEL]))"
    own = {
        "opened": _opened(found),
        "without_unusable": unusable if label.num_unusable else "",
        "without_rare": rare if label.rare else "",
    }
    return "\n\n" + fill(LABELLED, {**texts, **own})
