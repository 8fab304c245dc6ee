"""The course of a search over jobs: propose, run, tell, until there is a reason to end.

One decision: trials have turns in a fixed order, as many at one time as the task says, and a turn
is a trial's end or an epoch after which it may be ended. What is decided depends on what trials
came to, never on when, and a search that goes on plays the trials that have ended again from their
records, so that searcher and scheduler know what they knew. Where nothing is decided, whichever
trial is done first makes room for the next.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from distml import session
from distml.job import Result, RunContext
from distml.runs.record import RunRecord
from distml.runs.storage import open_storage
from distml.runs.strict_json import to_json
from distml.tune.children import Child, Children
from distml.tune.crew import Alone, Crew
from distml.tune.deciders import make_decider
from distml.tune.endings import is_over, is_put_off
from distml.tune.metrics import check_reported
from distml.tune.orders import ENDLESS, Order
from distml.tune.outcome import deliver
from distml.tune.population import Population
from distml.tune.processes import Processes
from distml.tune.proposers import Listed, make_proposer
from distml.tune.reports import Count, Report, reports_of
from distml.tune.space import Space
from distml.tune.tally import Tally
from distml.tune.turns import GO_ON, Decision, Exploit
from distml.tune.under_way import UnderWay

if TYPE_CHECKING:
    from distml.tune.task import Tune

__all__ = ["JobSearch"]

_FAR = 1_000_000
"""Epochs that no training reaches, where a scheduler of the user's own knows how many."""


class JobSearch:
    """One search.

    Args:
        task: What to search.
        context: Of its run.

    Raises:
        UserError: searcher and scheduler do not go together.
    """

    def __init__(self, task: "Tune", context: RunContext) -> None:
        self._task = task
        self._context = context
        self._children = Children(context)
        self._tally = Tally(task)
        self._num_begun = 0
        self._put_off: list[UnderWay] = []
        self._why_ended: str | None = None
        last: Any = task.max_epochs or getattr(task.scheduler, "_max_t", _FAR)
        self._last_epoch = int(last)
        space = Space.of(task.space)
        common: dict[str, Any] = {"mode": task.mode, "metric": task.metric, "seed": context.seed}
        self._proposer = make_proposer(task.search, space, num_samples=task.num_samples, **common)
        self._decider = make_decider(
            task.scheduler,
            max_resource=self._last_epoch,
            space=space,
            proposer=self._proposer,
            **common,
        )
        self._population = Population(open_storage(context.run_uri))
        self._crew, self._num_slots = self._make_crew()

    def run(self) -> Result:
        """Search to the end.

        Raises:
            UserError: trials do not report the metric, or cannot go on from each other.
            DistmlError: none went well.
        """
        task, proposer = self._task, self._proposer
        wanted = len(proposer) if isinstance(proposer, Listed) else task.num_samples
        told = {"metric": task.metric, "mode": task.mode, "trials": wanted}
        log = Space.of(task.space).logarithmic
        self._context.emit("search_started", **told, logarithmic=log)
        with closing(self._crew):
            self._take_turns()
        self._context.emit("search_ended")
        self._population.clear()
        self._tally.check(self._children.store.uri)
        return deliver(
            self._context,
            self._tally.in_order(),
            metric=task.metric,
            mode=task.mode,
            why_ended=self._why_ended or "num_samples",
        )

    def _make_crew(self) -> tuple[Crew, int]:
        number = self._task.max_concurrent_trials
        if number > 1 and session.is_inline():
            message = f"max_concurrent_trials={number}: debug runs one trial after another"
            self._context.emit("log", message=message)
            number = 1
        if number == 1:
            return Alone(self._children), 1
        return Processes(self._context, self._children, number), number

    def _take_turns(self) -> None:
        slots = [self._next() for _ in range(self._num_slots)]
        while self._decider.side_by_side and slots[-1] is not None:
            slots.append(self._next())
        at = -1
        while any(slots):
            at = self._whose_turn(slots, at)
            trial = slots[at]
            if trial is None or not self._turn(trial):
                slots[at] = self._next()
        for trial in self._put_off:
            trial.is_put_off, trial.is_alone = False, True
            while self._turn(trial):
                pass
        if self._put_off:
            self._put_off.clear()
            # A searcher may have waited for their results before it proposes more.
            self._take_turns()

    def _whose_turn(self, slots: list[UnderWay | None], at: int) -> int:
        """The slot after the last one; where the order is the same to all, one that is done."""
        task = self._task
        waits = task.early_stop_patience is not None or task.time_budget_s is not None
        if waits or self._proposer.looks_at_results or task.scheduler is not None:
            return (at + 1) % len(slots)
        running: dict[int, int] = {}
        for place, trial in enumerate(slots):
            if trial is not None and not trial.is_ordered:
                return place  # It has ended in a former attempt.
            if trial is not None:
                running[trial.child.number] = place
        return running[self._crew.first_done([*running])]

    def _next(self) -> UnderWay | None:
        """The next trial, begun; `None`: there is none, at least not now."""
        self._why_ended = self._why_ended or self._tally.reason_to_end()
        number = self._num_begun
        config = None if self._why_ended else self._proposer.suggest(number)
        if config is None:
            return None
        self._num_begun += 1
        added = self._decider.add(number, config)
        child = Child(number=number, config=added if self._decider.side_by_side else config)
        self._context.emit("trial_started", trial=number, params=to_json(dict(child.config)))
        sign = 1 if self._task.mode == "max" else -1
        trial = UnderWay(child=child, metric=self._task.metric, sign=sign)
        self._set_out(trial)
        return trial

    def _set_out(self, trial: UnderWay) -> None:
        """Begin a trial's run, or go on with it once what it told is played."""
        trial.record = self._children.ended(trial.child)
        trial.is_put_off = self._children.is_put_off(trial.child)
        trial.told.extend(reports_of(self._children.told(trial.child)))
        self._go_on(trial)

    def _go_on(self, trial: UnderWay) -> None:
        trial.until = self._next_turn(trial)
        if trial.record is None and not trial.told and not trial.is_put_off:
            self._order(trial)

    def _order(self, trial: UnderWay) -> None:
        trial.is_ordered = True
        self._crew.begin(
            Order(
                child=trial.child,
                make=self._task.making(trial.child.config),
                done=replace(trial.count),
                until=trial.until,
                pauses=self._decider.side_by_side,
                alone=trial.is_alone,
            )
        )

    def _next_turn(self, trial: UnderWay) -> int:
        """Epochs after which a trial may be ended, and so has to wait for its turn."""
        epochs = trial.count.epochs
        if self._num_slots == 1 and not self._decider.side_by_side:
            return epochs + 1
        wanted = max(self._decider.next_step(trial.child.number, epochs), epochs + 1)
        # After its last epoch a training ends by itself, and leaves its model.
        return wanted if wanted < self._last_epoch else ENDLESS

    def _turn(self, trial: UnderWay) -> bool:
        """Let a trial come to its turn: whether it goes on, now."""
        while trial.told and not trial.has_turn:
            trial.take(trial.told.popleft(), self.decide)
        if not trial.has_turn and trial.record is None and not self._hear(trial):
            return True
        if trial.mistake is not None:
            raise trial.mistake
        if trial.is_put_off and not trial.has_turn:
            self._put_off.append(trial)
            message = f"trial {trial.child.number + 1} ran out of memory: at the end it runs alone"
            self._context.emit("log", message=message)
            return False
        if self._decider.side_by_side and trial.has_turn:
            self._population.keep(trial.child, trial.count)
        if isinstance(trial.decision, Exploit):
            self._exploit(trial, trial.decision)
            return True
        if trial.has_turn and trial.decision is GO_ON:
            self._go_on(trial)
            return True
        record = trial.record or self._children.end(trial.child, trial.ended_early())
        self._finish(trial, record)
        return False

    def _hear(self, trial: UnderWay) -> bool:
        """Listen to a trial that runs: whether its order is done."""
        if trial.is_put_off:
            return True
        if not trial.is_ordered:
            self._order(trial)
        if not self._crew.hear(trial.child.number, partial(self._answer, trial)):
            return False
        trial.is_ordered = False
        record = self._children.load(trial.child)
        if is_over(record):
            trial.record = record
            # What it reported has been decided on; its end is another turn's.
            trial.until = max(trial.until, trial.count.epochs + 1)
        elif is_put_off(record):
            trial.is_put_off = True
        else:
            self._population.settle(trial.child, trial.count)
        return True

    def _answer(self, trial: UnderWay, report: Report) -> int:
        trial.take(report, self.decide)
        if trial.decision is not GO_ON:
            return 0
        if not self._decider.side_by_side and trial.has_turn:
            trial.until = self._next_turn(trial)
        return trial.until

    def _exploit(self, trial: UnderWay, chosen: Exploit) -> None:
        """Let a trial go on from where another one stood: a run that begins in its middle."""
        former, number = trial.child, trial.child.number
        heir = Child(number=number, config={**former.config, **chosen.config}, part=former.part + 1)
        self._population.hand_on(chosen.donor, chosen.step, heir)
        # Once there is a run, what it begins with may be dropped elsewhere.
        self._children.create(heir)
        why = f"went on from trial {chosen.donor + 1}"
        record = trial.record or self._children.end(former, trial.ended_early(why))
        trial.begin_anew(heir, Count(epochs=chosen.step), record.seconds or 0.0)
        params = to_json(dict(heir.config))
        came = {"donor": chosen.donor, "step": chosen.step}
        self._context.emit("trial_exploits", trial=number, **came, params=params)
        self._set_out(trial)

    def _finish(self, trial: UnderWay, record: RunRecord) -> None:
        """Take down what a trial came to, and tell whoever decides."""
        finished = self._tally.add(trial, record)
        number = finished.child.number
        if finished.state != "stopped early":
            self._decider.end(number, finished.score)
        self._proposer.end(number, finished.score)
        self._context.emit(
            "trial_ended",
            trial=number,
            params=to_json(dict(trial.child.config)),
            reason="scheduler" if finished.state == "stopped early" else finished.state,
            step=trial.count.epochs,
            score=finished.score,
            seconds=finished.seconds,
        )

    def decide(self, child: Child, epoch: int, scores: Mapping[str, float]) -> Decision:
        """What becomes of a training after an epoch.

        Raises:
            UserError: the scheduler cannot decide by what is reported.
        """
        if self._task.scheduler is not None:
            check_reported(self._task.metric, {"epoch": scores})
        value = scores.get(self._task.metric)
        if value is None:
            return GO_ON
        self._context.emit("trial_reported", trial=child.number, step=epoch, score=value)
        if epoch > self._last_epoch:
            return GO_ON
        decision = self._decider.decide(child.number, epoch, value)
        self._proposer.tell(child.number, epoch, value)
        # After its last epoch a training ends by itself, and leaves its model.
        return decision if epoch < self._last_epoch else GO_ON
