"""What every launcher does alike, through `--on cloud:FILE`; run by a pytest on the client."""

import os

import pytest

from tests.launch import test_contract

pytestmark = [
    pytest.mark.parametrize("name", [os.environ["CONTRACT_PLACE"]], ids=["cloud"]),
    pytest.mark.filterwarnings("default"),
]

globals().update(
    {name: test for name, test in vars(test_contract).items() if name.startswith("test_")}
)


@pytest.fixture
def place(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return test_contract.Place(name, tmp_path)
