import pytest

from distml.runs.spending import Spending, spending_of

PRICES = {"head": 1.0, "spot": 0.5}


def nodes(t, **counts):
    return {"kind": "nodes", "t": t, "nodes": counts}


def at(t, kind="phase"):
    return {"kind": kind, "t": t}


def test_node_time_is_summed_over_changes():
    spent = spending_of(
        [at(0, "attempt"), nodes(10, head=1), nodes(3610, head=1, spot=2), nodes(7210)]
    )

    assert spent.seconds == {"head": 7200, "spot": 7200}
    assert spent.most == {"head": 1, "spot": 2}
    assert spent.cost(PRICES) == pytest.approx(3.0)
    assert (spent.nodes, spent.rate(PRICES)) == ({}, None)


def test_what_goes_on_costs_more_each_moment():
    spent = spending_of([at(0, "attempt"), nodes(0, head=1, spot=2)])

    assert spent.rate(PRICES) == 2.0
    assert spent.until(1800).cost(PRICES) == pytest.approx(1.0)
    assert spent.until(-5).cost(PRICES) == 0.0


def test_a_driver_that_died_is_charged_to_its_last_word():
    spent = spending_of(
        [at(0, "attempt"), nodes(0, head=1), at(3600), at(90000, "attempt"), nodes(90000, head=1)]
    )

    assert spent.until(93600).cost(PRICES) == pytest.approx(2.0)


def test_an_event_of_the_past_takes_nothing_back():
    spent = spending_of([nodes(0, head=1), at(3600), at(1800), at(3600)])

    assert spent.seconds == {"head": 3600}


@pytest.mark.parametrize(
    "events", [[], [nodes(0, head=1, other=1), at(10)]], ids=["no nodes", "no price"]
)
def test_a_cost_that_is_not_known_is_none(events):
    assert spending_of(events).cost(PRICES) is None


def test_nothing_is_nothing():
    assert Spending().until(5).seconds == {}
