"""What a machine costs an hour, from a table in one file that users replace by their own.

One decision: no price is in the code. Without a table, or without a row, a price is not known, and
whoever would count with it says so.
"""

import csv
import difflib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from distml.errors import UserError

__all__ = ["Price", "PriceTable", "read_prices"]

_COLUMNS = (
    "provider",
    "region",
    "instance_type",
    "cpus",
    "memory_gib",
    "gpus",
    "on_demand",
    "spot",
    "date",
    "source",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """One row: a type of machine in a region."""

    provider: str
    """aws, gcp, azure, local, kuberay."""
    region: str
    """The provider's name of it; empty for machines of one's own."""
    instance_type: str
    """The provider's name; for machines of one's own the name of the node type."""
    cpus: float
    """CPUs of the machine."""
    memory_bytes: int
    """Memory of the machine."""
    gpus: float
    """GPUs of the machine."""
    on_demand: float | None
    """USD an hour. `None`: not known."""
    spot: float | None
    """USD an hour of a machine that may be taken away. `None`: not known."""
    date: str
    """When the figures were so."""
    source: str
    """Where they are from."""

    def per_hour(self, *, spot: bool) -> float | None:
        """USD for one hour. `None`: not known."""
        return self.spot if spot else self.on_demand


@dataclass(frozen=True, kw_only=True, slots=True)
class PriceTable:
    """The rows of a table by provider, region and type of machine."""

    path: Path | None = None
    """Where they were read from."""
    rows: Mapping[tuple[str, str, str], Price]
    """(provider, region, instance type) → its row."""

    def find(self, provider: str, region: str | None, instance_type: str) -> Price | None:
        """The row of a type of machine. `None`: there is none."""
        return self.rows.get((provider, region or "", instance_type))


def read_prices(path: Path) -> PriceTable:
    """Read a table. Lines that begin with # are comments.

    Raises:
        UserError: there is no such file, or a row says something that is not a price.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the price table cannot be read: {error}") from error
    numbered = [
        (number, line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not numbered:
        raise UserError(f"{path}: the price table has no rows; its columns are {_list()}")
    _check_columns(path, next(csv.reader([numbered[0][1]])))
    rows: dict[tuple[str, str, str], Price] = {}
    for number, line in numbered[1:]:
        price = _row(f"{path}:{number}", line, numbered[0][1])
        key = (price.provider, price.region, price.instance_type)
        if key in rows:
            raise UserError(f"{path}:{number}: {price.instance_type} has a row already")
        rows[key] = price
    return PriceTable(path=path, rows=rows)


def _check_columns(path: Path, columns: list[str]) -> None:
    for name in columns:
        if name not in _COLUMNS:
            close = difflib.get_close_matches(name, _COLUMNS, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise UserError(f"{path}: unknown column {name!r}: {hint}there are {_list()}")
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        raise UserError(f"{path}: no column {missing[0]!r}; there have to be {_list()}")


def _row(place: str, line: str, header: str) -> Price:
    cells = next(csv.DictReader(io.StringIO(f"{header}\n{line}\n")))
    if None in cells or None in cells.values():
        raise UserError(f"{place}: {len(_COLUMNS)} cells are expected: {_list()}")
    for name in ("provider", "instance_type"):
        if not cells[name].strip():
            raise UserError(f"{place}: {name} is empty")
    return Price(
        provider=cells["provider"].strip(),
        region=cells["region"].strip(),
        instance_type=cells["instance_type"].strip(),
        cpus=_number(place, "cpus", cells["cpus"]) or 0.0,
        memory_bytes=int((_number(place, "memory_gib", cells["memory_gib"]) or 0.0) * 2**30),
        gpus=_number(place, "gpus", cells["gpus"]) or 0.0,
        on_demand=_number(place, "on_demand", cells["on_demand"]),
        spot=_number(place, "spot", cells["spot"]),
        date=cells["date"].strip(),
        source=cells["source"].strip(),
    )


def _number(place: str, column: str, cell: str) -> float | None:
    """A cell as a number; `None` if it is empty."""
    if not cell.strip():
        return None
    try:
        number = float(cell)
    except ValueError:
        number = -1.0
    # Written so that NaN is refused, too.
    if not 0 <= number < float("inf"):
        raise UserError(f"{place}: {column} is {cell.strip()!r}, not a number from 0 on")
    return number


def _list() -> str:
    return ",".join(_COLUMNS)
