"""Rules such as `"sched_dep_hour >= 17 and wind_gust > 25"`, evaluated over the columns of a table.

The text is parsed as a Python expression, and only what is listed in this module is understood:
names of columns, numbers, texts, `None`/`null`, comparisons, `in` a list of constants, `is null`,
`and`, `or`, `not`, `+ - * /`. Nothing is executed: each node becomes a function of
`pyarrow.compute`. Refused: everything else, by name.
"""

import ast
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from distml.data.tables import as_table, first_line, unknown_column
from distml.errors import UserError

__all__ = ["evaluate_rule", "rule_columns"]

_MOST_CHARACTERS = 2000

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: pc.add,
    ast.Sub: pc.subtract,
    ast.Mult: pc.multiply,
    ast.Div: pc.divide,
}


def evaluate_rule(expression: str, table: Any) -> npt.NDArray[np.bool_]:
    """Evaluate a rule on every row.

    Comparisons with null are neither true nor false (SQL's three values); a row for which the whole
    is null is False. Arithmetic is in float64. Text is compared with dates as ISO dates.

    Args:
        expression: the rule.
        table: what `as_table` takes.

    Returns:
        Array of shape (n_rows,), bool.

    Raises:
        UserError: the rule cannot be parsed, uses anything but the above, names an unknown column,
            compares types that cannot be compared, or is not true or false.
    """
    table = as_table(table)
    result = _Rule(expression, table).value(_parse(expression))
    if isinstance(result, pa.Scalar) or not pt.is_boolean(result.type):
        raise UserError(f"rule {expression!r}: is not true or false for a row; compare something")
    return np.asarray(pc.fill_null(result, False).to_numpy(), dtype=np.bool_)


def rule_columns(expression: str) -> tuple[str, ...]:
    """The columns that a rule names, in the order of their first use.

    Raises:
        UserError: the rule cannot be parsed.
    """
    names = [node for node in ast.walk(_parse(expression)) if isinstance(node, ast.Name)]
    names.sort(key=lambda node: (node.lineno, node.col_offset))
    return tuple(dict.fromkeys(node.id for node in names if node.id != "null"))


def _parse(expression: str) -> ast.expr:
    if len(expression) > _MOST_CHARACTERS:
        raise UserError(
            f"rule: {len(expression)} characters are too long; use at most {_MOST_CHARACTERS}"
        )
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(
            f"rule {expression!r}: cannot be parsed ({first_line(error)}); write it like "
            "'hour >= 17 and gust > 25'"
        ) from error


class _Rule:
    """One rule over one table. Values are columns, or scalars for constants."""

    def __init__(self, expression: str, table: pa.Table) -> None:
        self.expression = expression
        self.table = table

    def value(self, node: ast.expr) -> Any:
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            self._refuse(f"{type(node).__name__} ({ast.unparse(node)}) is not allowed")
        try:
            return method(node)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            self._refuse(f"cannot evaluate {ast.unparse(node)} ({first_line(error)})", error)

    def _name(self, node: ast.Name) -> Any:
        if node.id not in self.table.column_names:
            where = f"rule {self.expression!r}"
            raise UserError(unknown_column(node.id, self.table.column_names, where=where))
        column = self.table[node.id]
        return column.cast(column.type.value_type) if pt.is_dictionary(column.type) else column

    def _constant(self, node: ast.Constant) -> Any:
        if node.value is not None and not isinstance(node.value, bool | int | float | str):
            self._refuse(f"the constant {ast.unparse(node)} is not a number or a text")
        return pa.scalar(node.value)

    def _boolop(self, node: ast.BoolOp) -> Any:
        combine = pc.and_kleene if isinstance(node.op, ast.And) else pc.or_kleene
        result = self._truth(node.values[0])
        for operand in node.values[1:]:
            result = combine(result, self._truth(operand))
        return result

    def _unaryop(self, node: ast.UnaryOp) -> Any:
        if isinstance(node.op, ast.Not):
            return pc.invert(self._truth(node.operand))
        value = self._number(node.operand)
        if isinstance(node.op, ast.Invert):
            self._refuse("~ is not allowed; write 'not'")
        return pc.negate(value) if isinstance(node.op, ast.USub) else value

    def _binop(self, node: ast.BinOp) -> Any:
        operator = _ARITHMETIC.get(type(node.op))
        if operator is None:
            self._refuse(f"the operator in {ast.unparse(node)} is not allowed; use + - * /")
        return operator(self._number(node.left), self._number(node.right))

    def _compare(self, node: ast.Compare) -> Any:
        operands = [node.left, *node.comparators]
        result = None
        for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
            one = self._compare_two(left, operator, right)
            result = one if result is None else pc.and_kleene(result, one)
        return result

    def _compare_two(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Any:
        if isinstance(operator, ast.Is | ast.IsNot):
            return self._is_null(left, isinstance(operator, ast.IsNot), right)
        if isinstance(operator, ast.In | ast.NotIn):
            return self._is_in(left, isinstance(operator, ast.NotIn), right)
        return _COMPARE[type(operator)](*_alike(self.value(left), self.value(right)))

    def _is_null(self, left: ast.expr, negate: bool, right: ast.expr) -> Any:
        constant = isinstance(right, ast.Constant) and right.value is None
        if not constant and not (isinstance(right, ast.Name) and right.id == "null"):
            self._refuse(f"'is' compares with null only, not with {ast.unparse(right)}; write ==")
        result = pc.is_null(self.value(left), nan_is_null=True)
        return pc.invert(result) if negate else result

    def _is_in(self, left: ast.expr, negate: bool, right: ast.expr) -> Any:
        if not isinstance(right, ast.List | ast.Tuple | ast.Set) or not right.elts:
            self._refuse(f"'in' needs a list such as ['JFK', 'LGA'], not {ast.unparse(right)}")
        result = None
        for element in right.elts:
            same = self._compare_two(left, ast.Eq(), element)
            result = same if result is None else pc.or_kleene(result, same)
        return pc.invert(result) if negate else result

    def _truth(self, node: ast.expr) -> Any:
        value = self.value(node)
        if not pt.is_boolean(value.type):
            self._refuse(f"{ast.unparse(node)} is not true or false; compare it with something")
        return value

    def _number(self, node: ast.expr) -> Any:
        value = self.value(node)
        if not (
            pt.is_integer(value.type) or pt.is_floating(value.type) or pt.is_decimal(value.type)
        ):
            self._refuse(f"{ast.unparse(node)} is not a number but {value.type}")
        return pc.cast(value, pa.float64())

    def _refuse(self, reason: str, cause: BaseException | None = None) -> NoReturn:
        raise UserError(f"rule {self.expression!r}: {reason}") from cause


def _alike(left: Any, right: Any) -> tuple[Any, Any]:
    """Cast a text constant to the time it is compared with: dates are written in ISO form."""
    if isinstance(right, pa.Scalar) and pt.is_string(right.type) and pt.is_temporal(left.type):
        return left, _as_time(right, left.type)
    if isinstance(left, pa.Scalar) and pt.is_string(left.type) and pt.is_temporal(right.type):
        return _as_time(left, right.type), right
    return left, right


def _as_time(text: pa.Scalar, kind: pa.DataType) -> pa.Scalar:
    if pt.is_timestamp(kind) and kind.tz is not None:
        return text.cast(pa.timestamp(kind.unit)).cast(kind)
    return text.cast(kind)
