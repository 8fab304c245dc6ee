import importlib

import pytest

import distml


@pytest.mark.parametrize("name", distml.__all__)
def test_every_public_name_resolves(name):
    assert getattr(distml, name) is not None


def test_public_names_are_listed():
    assert dir(distml) == sorted(distml.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'distml' has no attribute 'Boosting'"):
        distml.Boosting  # noqa: B018


def test_the_version_is_that_of_the_distribution():
    assert distml.__version__ == importlib.metadata.version("distml")
