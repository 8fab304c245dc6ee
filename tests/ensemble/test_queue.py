"""Small units are carried out together, judged on the executor with a clock of its own."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distml.ensemble.worker import Outcome, WorkerLostError
from distml.runs.progress import progress_of
from tests.ensemble.test_schedule import Clock, Ensemble, Learner, of_kind, run


class Together(Clock):
    """Carries out units one after another; may lose the first bundle it is given."""

    def __init__(self, num_cpus, together=8, loses=False):
        super().__init__(num_cpus)
        self.together = together
        self.loses = loses
        self.bundles: list[list[str]] = []
        self._done = []

    def submit_together(self, small, *, memory_bytes):
        self.bundles.append([unit.member for _, unit, _ in small])
        for ticket, unit, key in small:
            cpus = max(ticket.cpus, 1)
            self.submit(ticket, unit, cpus=cpus, gpus=0, memory_bytes=0, key=key, has_workers=False)
        if self.loses:
            self.loses = False
            lost = {id(ticket) for ticket, *_ in small}
            self._running = [entry for entry in self._running if id(entry[2]) not in lost]
            error = Outcome(error=WorkerLostError("worker died"))
            self._done += [(ticket, error) for ticket, *_ in small]

    def wait(self):
        return self._done.pop() if self._done else super().wait()


class Large(Learner):
    """Of another class than what was measured."""


def small(count: int) -> list[Learner]:
    return [Learner(seconds=0.001, kind="small") for _ in range(count)]


@settings(deadline=None, max_examples=50)
@given(
    count=st.integers(1, 60),
    large=st.integers(0, 5),
    num_cpus=st.integers(1, 4),
    together=st.integers(1, 16),
)
def test_every_unit_is_carried_out_once_and_large_ones_alone(count, large, num_cpus, together):
    members = [*small(count), *(Large(seconds=3.0, kind="large") for _ in range(large))]
    executor = Together(num_cpus, together)
    ensemble = Ensemble([small(1), members])
    events = run(ensemble, executor)
    assert len(of_kind(events, "unit_done")) == count + large + 1
    assert len(of_kind(events, "unit_started")) == count + large + 1
    assert progress_of(events).most_running <= num_cpus + 1
    assert all(2 <= len(bundle) <= together for bundle in executor.bundles)
    names = {f"m{number}" for number in range(count)}
    assert all(set(bundle) <= names for bundle in executor.bundles)
    assert ensemble.values_[1] == [f"m{number}" for number in range(count + large)]


def test_nothing_is_taken_together_before_it_is_known_to_be_small():
    executor = Together(2)
    run(Ensemble([small(40)]), executor)
    first_bundle = executor.started.index(executor.bundles[0][0])
    assert first_bundle >= 2


def test_bundles_become_smaller_so_that_cpus_end_together():
    executor = Together(2, together=16)
    run(Ensemble([small(1), small(80)]), executor)
    sizes = [len(bundle) for bundle in executor.bundles]
    assert all(later <= earlier for earlier, later in pairwise(sizes))
    assert sizes[0] == 16


@pytest.mark.filterwarnings("ignore")
def test_units_of_a_lost_worker_are_tried_again_one_by_one():
    executor = Together(2, loses=True)
    ensemble = Ensemble([small(1), small(40)])
    events = run(ensemble, executor)
    lost = executor.bundles[0]
    assert len(of_kind(events, "unit_retried")) == len(lost)
    assert not any(set(bundle) & set(lost) for bundle in executor.bundles[1:])
    assert len(of_kind(events, "unit_done")) == 41
