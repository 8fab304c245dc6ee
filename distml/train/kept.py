"""What the checkpoints of a loop hold: things with a state, by names of the loop's choice.

The one decision: what is loaded has to be what was kept, name by name and shape by shape; anything
else is refused as a whole, in one line, before training goes on from half a state.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from distml.errors import UserError
from distml.train.parallel import Parallel, bare

__all__ = ["Kept"]

_WRONG = (AttributeError, KeyError, RuntimeError, TypeError, ValueError)


class Kept:
    """Models, optimizers, and whatever else has a state.

    Args:
        parallel: how the models are spread.
    """

    def __init__(self, parallel: Parallel) -> None:
        self._parallel = parallel
        self._things: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return bool(self._things)

    def add(self, things: Mapping[str, Any]) -> None:
        """Keep further things, or others under the same names.

        Raises:
            UserError: one has no state that could be kept.
        """
        for name, thing in things.items():
            if not (hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict")):
                raise UserError(
                    f"{name} is a {type(thing).__name__}, which has no state_dict and "
                    "load_state_dict; give an object that has"
                )
        self._things |= things

    def networks(self) -> dict[str, nn.Module]:
        """The networks among them, without their wrappers."""
        models = {n: thing for n, thing in self._things.items() if isinstance(thing, nn.Module)}
        return {name: bare(model) for name, model in models.items()}

    def state(self) -> dict[str, Any]:
        """The state of each. All workers call it."""
        return {name: self._state_of(thing) for name, thing in self._things.items()}

    def load(self, state: Mapping[str, Any], where: str) -> None:
        """Undo `state`.

        Args:
            state: what is loaded.
            where: what it was read from.

        Raises:
            UserError: it is the state of other things.
        """
        if state.keys() != self._things.keys():
            raise UserError(
                f"the checkpoint in {where} holds {', '.join(state)}, and the loop keeps "
                f"{', '.join(self._things)}; keep the same, or start a new run"
            )
        for name, thing in self._things.items():
            try:
                self._load(thing, state[name])
            except _WRONG as error:
                said = " ".join(str(error).split())
                raise UserError(
                    f"the checkpoint in {where} is of another architecture ({name}: {said}); "
                    "start a new run"
                ) from error

    def _state_of(self, thing: Any) -> Any:
        if isinstance(thing, nn.Module):
            return self._parallel.weights(thing)
        if isinstance(thing, torch.optim.Optimizer):
            return self._parallel.optimizer_state(self._model_of(thing), thing)
        return thing.state_dict()

    def _load(self, thing: Any, state: Any) -> None:
        if isinstance(thing, nn.Module):
            self._parallel.load_weights(thing, state)
        elif isinstance(thing, torch.optim.Optimizer):
            self._parallel.load_optimizer(self._model_of(thing), thing, state)
        else:
            thing.load_state_dict(state)

    def _model_of(self, optimizer: torch.optim.Optimizer) -> nn.Module:
        """The model whose weights it trains; one without weights if it is none that is kept."""
        first = optimizer.param_groups[0]["params"][0]
        models = (thing for thing in self._things.values() if isinstance(thing, nn.Module))
        return next((m for m in models if any(p is first for p in m.parameters())), nn.Module())
