"""What the descriptions of networks share: they are parameters, checked when a module is built.

One decision: a description is a parameter object as scikit-learn knows them (`get_params`,
`set_params`, `clone` and a short `repr`), so `module__hidden` can be searched over like any
parameter; and no subclass of its classes, because each worker of a training would load them for it,
for a second or two. It holds no weights, and refuses, in one line, a shape of data that its module
cannot read.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from torch import nn

from distml.errors import UserError
from distml.train.shape import Field, Kind, Shape

__all__ = ["Spec"]

_NAMES: dict[Kind, str] = {
    "numbers": "numbers",
    "categories": "categories",
    "array": "arrays of one size",
    "sequence": "sequences",
    "tokens": "text or tokens",
}
_ADVICE: dict[Kind, str] = {
    "numbers": "drop these columns, or use MLP",
    "categories": "drop these columns, or encode them as numbers",
    "array": "use CNN or MLP, or drop the column",
    "sequence": "rows of varying length are for RNN or Transformer; or bring them to one length",
    "tokens": "use RNN or Transformer, or drop the column",
}


class Spec:
    """Parameters of a network, from which `build` makes the module."""

    takes: ClassVar[Sequence[Kind]] = ()
    """Kinds of fields that its modules read."""
    needs_label: ClassVar[bool] = True
    """Whether its modules give outputs for a label, and not their input again."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; none of them has parameters of its own."""
        return {name: getattr(self, name) for name in self._defaults()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name.

        Raises:
            ValueError: there is none of that name.
        """
        known = sorted(self._defaults())
        for name, value in params.items():
            if name not in known:
                raise ValueError(
                    f"Invalid parameter {name!r} for {self}. Valid parameters are: {known}"
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        # Not by `!=`, which an array answers for each of its numbers.
        changed = (
            f"{name}={getattr(self, name)!r}"
            for name, default in self._defaults().items()
            if repr(getattr(self, name)) != repr(default)
        )
        return f"{self._name}({', '.join(changed)})"

    @classmethod
    def _defaults(cls) -> Mapping[str, Any]:
        parameters = inspect.signature(cls).parameters.values()
        return {parameter.name: parameter.default for parameter in parameters}

    def build(self, shape: Shape) -> nn.Module:
        """Make a module for data of a shape, with random weights from torch's generator.

        Raises:
            UserError: a parameter makes no sense, or the module cannot read such data.
        """
        raise NotImplementedError

    def _check_shape(self, shape: Shape) -> None:
        """Refuse fields that the module does not take, and data without a label."""
        if not shape.num_outputs and self.needs_label:
            raise UserError(f"{self._name} predicts a label; use Autoencoder where there is none")
        for field in shape:
            if field.kind not in self.takes:
                raise UserError(self._refusal(field))
        if not shape.fields:
            raise UserError(f"{self._name}: the data has no column to learn from")

    def _refusal(self, field: Field) -> str:
        *most, last = (_NAMES[kind] for kind in self.takes)
        takes = f"{', '.join(most)} and {last}" if most else last
        return f"{self._name} takes {takes}, and the data has {field}: {_ADVICE[field.kind]}"

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _check_choice(self, name: str, choices: Sequence[Any]) -> None:
        value = getattr(self, name)
        if value not in choices:
            listed = ", ".join(map(repr, choices))
            raise UserError(f"{self._name}: {name}={value!r} must be one of {listed}")

    def _check_whole(self, *names: str, least: int = 1) -> None:
        """Whole numbers, or rows of them, that have a least value."""
        for name in names:
            value = getattr(self, name)
            numbers = value if isinstance(value, tuple | list) else (value,)
            if not all(_is_whole(number) and number >= least for number in numbers):
                whole = "whole numbers" if isinstance(value, tuple | list) else "a whole number"
                raise UserError(f"{self._name}: {name}={value!r} must be {whole} from {least}")

    def _check_share(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < 1:
                raise UserError(f"{self._name}: {name}={value!r} must be at least 0 and below 1")

    def _check_embedding(self) -> None:
        if getattr(self, "embedding_dim", None) != "auto":
            self._check_whole("embedding_dim")


def _is_whole(value: Any) -> bool:
    # NumPy's integers come out of searches.
    return hasattr(value, "__index__") and not isinstance(value, bool)
