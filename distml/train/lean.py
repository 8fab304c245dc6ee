"""Ray Train without what takes most of its time to start.

The one decision: its controller, and what watches for nodes that are taken away, run in threads of
the driver. In actors of their own they import all of Ray Train and the network's modules once more
before the first worker is asked for, and what they do there, placing workers and asking how they
are, is no work. They end with their driver either way.
"""

import asyncio
import importlib
import os
from collections.abc import Mapping
from typing import Any

__all__ = ["lean_trainer", "train_functions"]

_SPARED = {"DatasetsCallback", "PlacementGroupCleanerCallback"}
"""One splits Ray Data, which is not used. The other frees what a controller has reserved that died
before its driver, and Ray frees what a driver had."""


def lean_trainer(actor: Any) -> Any:
    """The class of a trainer, to be used as Ray Train's `DataParallelTrainer`.

    Args:
        actor: what workers are told is their controller. The calls that they would make to it
            (`get_all_reported_checkpoints`) are about checkpoints that Ray Train keeps.
    """
    # The types of Ray are those of its former version.
    ray: Any = importlib.import_module("ray")
    from ray.train.v2._internal.callbacks.preemption_callback import PreemptionCallback
    from ray.train.v2._internal.constants import get_env_vars_to_propagate
    from ray.train.v2._internal.execution.controller import TrainController
    from ray.train.v2._internal.execution.preemption import PreemptionWatcher
    from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
    from ray.train.v2._internal.execution.worker_group import WorkerGroup
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    class Group(WorkerGroup):
        @staticmethod
        def _get_worker_runtime_env(custom_runtime_env: Any) -> dict[str, Any]:
            # With an environment of their own they could not be processes that Ray has ready.
            return dict(custom_runtime_env)

        def _init_train_context_on_workers(
            self, workers: Any, synchronizer: Any, arguments: Any
        ) -> None:
            settings = get_env_vars_to_propagate()
            for worker in workers:
                worker.execute_async(_take_over, settings)
            # As there, but for the controller: it would ask Ray in which actor it is.
            common = {
                "train_run_context": self._train_run_context,
                "synchronization_actor": synchronizer,
                "storage_context": self._storage_context,
                "worker_callbacks": self._worker_callbacks_to_propagate,
                "controller_actor": actor,
            }
            told = [
                worker.actor.init_train_context.remote(
                    distributed_context=worker.distributed_context,
                    **common,
                    **{name: values[rank] for name, values in arguments.items()},
                )
                for rank, worker in enumerate(workers)
            ]
            ray.get(told)
            self._decorate_worker_log_file_paths(workers)

    class Watching(PreemptionCallback):
        def after_worker_group_start(self, worker_group: Any) -> None:
            self._stop_watcher()
            ranks: dict[str, list[int]] = {}
            actors = {}
            for worker in worker_group.get_workers():
                rank = worker.distributed_context.world_rank
                ranks.setdefault(worker.metadata.node_id, []).append(rank)
                actors[rank] = worker.actor
            self._watcher: Any = PreemptionWatcher(ranks, self._poll_interval_s, actors)

        def _stop_watcher(self) -> None:
            if self._watcher is not None:
                self._watcher._stop_event.set()
                self._watcher = None

    class Controller(TrainController):
        worker_group_cls = Group

        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self._worker_group_callbacks_to_propagate = [
                Watching() if isinstance(each, PreemptionCallback) else each
                for each in self._worker_group_callbacks_to_propagate
            ]

    class Fixed(FixedScalingPolicy):
        """Asks the autoscaler by the placement group alone, not through one more actor."""

        def _send_resource_request(self) -> None:
            pass

        def _maybe_send_resource_request(self) -> None:
            pass

        def _cancel_resource_request(self) -> None:
            pass

    class Lean(DataParallelTrainer):
        def _create_default_callbacks(self) -> list[Any]:
            callbacks = super()._create_default_callbacks()
            return [each for each in callbacks if type(each).__name__ not in _SPARED]

        def _initialize_and_run_controller(self, **settings: Any) -> Any:
            scaling: Any = self.scaling_config
            if not scaling.elasticity_enabled:
                settings["scaling_policy"] = Fixed(scaling)
            controller: Any = Controller(**settings)
            asyncio.run(controller.run())
            return controller.get_result()

    return Lean


def train_functions() -> Any:
    """What a loop on a worker asks of Ray Train.

    Its public functions load all of Ray Tune, to see that they are not called there.
    """
    from ray.train.v2._internal.execution.train_fn_utils import get_train_fn_utils

    return get_train_fn_utils()


def _take_over(settings: Mapping[str, str]) -> None:
    os.environ.update(settings)
