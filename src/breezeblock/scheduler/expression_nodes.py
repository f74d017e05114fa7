"""The closures that a filter or goodness function is compiled to.

Made by the parser (`expressions.py`), one for each construct of the language. A node takes the
names and gives a value, or raises ExpressionError with its place in the text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from breezeblock.scheduler.expression_values import Value, as_number, as_truth, calculate, compare

Names = Mapping[str, Mapping[str, Any]]
Node = Callable[[Names], Value]


class ExpressionError(ValueError):
    """The text is no expression, or has no value for these names. `position` counts from 0."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(f"{message} (at character {position + 1})")
        self.message = message
        self.position = position


class Link(NamedTuple):
    """An operator and what stands to the right of it."""

    sign: str
    operand: Node
    position: int


def constant(value: Value) -> Node:
    return lambda _names: value


def lookup(name: str, position: int) -> Node:
    path = name.split(".")

    def node(names: Names) -> Value:
        found: Any = names
        try:
            for part in path:
                found = found[part]
        except (KeyError, TypeError):
            raise ExpressionError(f"{name} is not known here", position) from None
        if found is None or isinstance(found, (int, float, str)):
            return found
        raise ExpressionError(f"{name} is neither number, text nor boolean", position)

    return node


def call(function: Callable[..., Value], arguments: list[Node], position: int) -> Node:
    """Apply a plain function to all arguments; its ValueError gets the place."""

    def node(names: Names) -> Value:
        values = [argument(names) for argument in arguments]
        try:
            return function(*values)
        except ValueError as error:
            raise ExpressionError(str(error), position) from None

    return node


def arithmetic(first: Node, rest: list[Link]) -> Node:
    """`first + a - b …`, from left to right."""

    def node(names: Names) -> Value:
        value = first(names)
        for sign, operand, position in rest:
            try:
                value = calculate(sign, value, operand(names))
            except ExpressionError:
                raise
            except ValueError as error:
                raise ExpressionError(str(error), position) from None
        return value

    return node


def comparison(first: Node, rest: list[Link]) -> Node:
    """`first < a < b …`: each neighbouring pair must hold."""

    def node(names: Names) -> Value:
        left = first(names)
        for sign, operand, position in rest:
            right = operand(names)
            try:
                holds = compare(sign, left, right)
            except ValueError as error:
                raise ExpressionError(str(error), position) from None
            if not holds:
                return False
            left = right
        return True

    return node


def logic(first: Node, rest: list[Link]) -> Node:
    """`first and a and b …`, or the same with `or`; stops where the answer is known."""
    decisive = rest[0].sign == "or"
    terms = [condition(first, rest[0].position)]
    terms += [condition(operand, position) for _, operand, position in rest]

    def node(names: Names) -> Value:
        return decisive if any(term(names) is decisive for term in terms) else not decisive

    return node


def condition(operand: Node, position: int) -> Node:
    return call(as_truth, [operand], position)


def inverse(operand: Node, position: int) -> Node:
    return call(lambda value: not as_truth(value), [operand], position)


def signed(sign: str, operand: Node, position: int) -> Node:
    factor = -1.0 if sign == "-" else 1.0
    return call(lambda value: factor * as_number(value), [operand], position)


def choice(test: Node, chosen: Node, otherwise: Node, position: int) -> Node:
    holds = condition(test, position)
    return lambda names: chosen(names) if holds(names) else otherwise(names)
