"""The table of prices: what is shipped, what a user puts in its place, and what is no price."""

from pathlib import Path

import pytest

from distml.errors import UserError
from distml.launch.files.prices import read_prices

SHIPPED = Path(__file__).parent.parent.parent / "cluster" / "prices.csv"
HEADER = "provider,region,instance_type,cpus,memory_gib,gpus,on_demand,spot,date,source"


def table(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "prices.csv"
    path.write_text("\n".join(["# ours", "", header, *rows, ""]), encoding="utf-8")
    return path


def test_shipped_table_says_of_each_price_when_and_whence() -> None:
    rows = read_prices(SHIPPED).rows.values()
    assert len(rows) > 50
    for row in rows:
        assert row.date[:2] == "20"
        assert "remembered" in row.source
        assert "estimate" in row.source
        assert row.on_demand is not None
        assert row.spot is not None
        assert 0 < row.spot < row.on_demand


def test_a_row_is_found_by_provider_region_and_type(tmp_path: Path) -> None:
    path = table(tmp_path, "aws,us-east-1,m6i.large,2,8,0,0.1,,2026-01-01,ours")
    found = read_prices(path).find("aws", "us-east-1", "m6i.large")
    assert found is not None
    assert (found.cpus, found.memory_bytes, found.source) == (2, 8 * 2**30, "ours")
    assert found.per_hour(spot=False) == 0.1
    assert found.per_hour(spot=True) is None
    assert read_prices(path).find("aws", "us-west-2", "m6i.large") is None


def test_machines_of_ones_own_have_no_region(tmp_path: Path) -> None:
    path = table(tmp_path, "local,,head,8,64,0,0.25,,2026-01-01,power and depreciation")
    assert read_prices(path).find("local", None, "head") is not None


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    header = ",".join(reversed(HEADER.split(",")))
    path = table(tmp_path, "ours,2026-01-01,0.02,0.1,0,8,2,m6i.large,r,aws", header=header)
    found = read_prices(path).find("aws", "r", "m6i.large")
    assert found is not None
    assert found.spot == 0.02


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("aws,r,t,2,8,0,cheap,0.1,d,s", "4: on_demand is 'cheap', not a number from 0 on"),
        ("aws,r,t,2,8,0,-1,0.1,d,s", "on_demand is '-1', not a number"),
        ("aws,r,t,2,8,0,nan,0.1,d,s", "on_demand is 'nan', not a number"),
        ("aws,r,t,2,8,0,inf,0.1,d,s", "on_demand is 'inf', not a number"),
        ("aws,r,t,2,8", "10 cells are expected"),
        ("aws,r,t,2,8,0,1,1,d,s,more", "10 cells are expected"),
        (",r,t,2,8,0,1,1,d,s", "provider is empty"),
        ("aws,r,,2,8,0,1,1,d,s", "instance_type is empty"),
    ],
)
def test_what_is_no_price_is_refused_with_its_line(row: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_prices(table(tmp_path, row))
    assert "\n" not in str(caught.value)


def test_a_type_that_stands_twice_is_refused(tmp_path: Path) -> None:
    row = "aws,r,t,2,8,0,1,1,d,s"
    with pytest.raises(UserError, match=r":5: t has a row already"):
        read_prices(table(tmp_path, row, row))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (HEADER.replace("spot", "spott"), "unknown column 'spott': did you mean spot?"),
        (HEADER.replace(",spot", ""), "no column 'spot'"),
    ],
)
def test_columns_that_are_not_these_are_refused(header: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_prices(table(tmp_path, header=header))


def test_a_file_without_a_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(UserError, match="has no rows"):
        read_prices(tmp_path / "empty.csv")
    with pytest.raises(UserError, match="cannot be read"):
        read_prices(tmp_path / "missing.csv")
