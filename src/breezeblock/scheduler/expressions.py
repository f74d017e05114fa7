"""The language of filter_function and goodness_function.

Backends send these functions with their reports; the DriverFilter and the GoodnessWeigher evaluate
them for each pool. Text is never given to Python's own evaluator: it is cut into tokens, parsed by
precedence climbing and compiled to closures, once for each text. From loose to tight:

    c ? a : b    or ||    and &&    not !    == != < > <= >=    + -    * /    -x    ^

`^` and `?:` group to the right; comparisons may be chained (`1 < x < 5`). `and`, `or` and `?:`
evaluate only what they need. Names are `stats.*`, `capabilities.*`, `volume.*`, `extra.*` and
`qos.*`; further dots descend. Only ExpressionError leaves this module.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from breezeblock.scheduler import expression_nodes as nodes
from breezeblock.scheduler.expression_nodes import ExpressionError, Link, Names, Node
from breezeblock.scheduler.expression_values import FUNCTIONS, Value
from breezeblock.scheduler.values import figures, shown

__all__ = ["Expression", "ExpressionError", "Names", "parse", "read"]

MAX_LENGTH = 4096
MAX_DEPTH = 32
ROOTS = ("stats", "capabilities", "volume", "extra", "qos")


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled text. `names` are the names that it reads, in order."""

    text: str
    names: tuple[str, ...]
    node: Node

    def evaluate(self, names: Names) -> Value:
        """The value for one pool; raises ExpressionError, also for a name that is not there."""
        return self.node(names)

    def holds(self, names: Names) -> bool:
        """The value as a condition; raises ExpressionError as `evaluate` does."""
        return bool(nodes.condition(self.node, 0)(names))

    def figures(self, names: Names) -> str:
        """The numbers behind the names, for a reason: ` (volume.size = 20)`."""
        return figures((name, read(name, names)) for name in self.names)


def read(name: str, names: Names) -> Value:
    """The value behind a name; None where there is none that a function could use."""
    try:
        return nodes.lookup(name, 0)(names)
    except ExpressionError:
        return None


def parse(text: object) -> Expression:
    """Compile a text, or take it from the cache; raises ExpressionError."""
    if not isinstance(text, str):
        raise ExpressionError(f"{shown(text)} is not text")
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH} characters", MAX_LENGTH)
    compiled = _compiled(text)
    if isinstance(compiled, Expression):
        return compiled
    raise ExpressionError(*compiled)


@lru_cache(maxsize=1024)
def _compiled(text: str) -> Expression | tuple[str, int]:
    """Errors are cached too: a bad function is met once for each pool and request."""
    try:
        parser = _Parser(text)
        return Expression(text, node=parser.whole(), names=tuple(parser.names))
    except ExpressionError as error:
        return error.message, error.position


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


_TOKEN = re.compile(
    r"""(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[A-Za-z_]\w*(?:\.\w+)*)
      | (?P<text>'[^']*'|"[^"]*")
      | (?P<space>\s+)
      | (?P<sign>&&?|\|\|?|[=!<>]=|[-+*/^<>!?:(),])""",
    re.VERBOSE,
)
_WORDS = {"&&": "and", "&": "and", "||": "or", "|": "or", "!": "not"}
_COMPARISON = 3
_LEVELS = {
    "or": 1,
    "and": 2,
    "+": 4,
    "-": 4,
    "*": 5,
    "/": 5,
    **dict.fromkeys(("==", "!=", "<", ">", "<=", ">="), _COMPARISON),
}
_NODES = {
    1: nodes.logic,
    2: nodes.logic,
    _COMPARISON: nodes.comparison,
    4: nodes.arithmetic,
    5: nodes.arithmetic,
}


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExpressionError(f"unexpected {shown(text[position])}", position)
        kind, word = match.lastgroup or "", _WORDS.get(match.group(), match.group())
        if word in ("and", "or", "not"):
            kind = "sign"
        if kind != "space":
            found.append(_Token(kind, word, position))
        position = match.end()
    return [*found, _Token("end", "", len(text))]


class _Parser:
    """One text on its way to a closure. `depth` counts what is nested, to spare Python's stack."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.at = 0
        self.names: dict[str, None] = {}

    def whole(self) -> Node:
        node = self.choice(0)
        if self.tokens[self.at].kind != "end":
            raise self.unexpected()
        return node

    def choice(self, depth: int) -> Node:
        condition = self.chain(1, depth)
        position = self.tokens[self.at].position
        if not self.take("?"):
            return condition
        chosen = self.choice(depth + 1)
        self.expect(":")
        return nodes.choice(condition, chosen, self.choice(depth + 1), position)

    def chain(self, level: int, depth: int) -> Node:
        """Operators of this level and tighter ones. What stands on one level becomes one node, so
        that a long sum is no deep tree."""
        left = self.operand(depth)
        while (here := _LEVELS.get(self.sign(), 0)) >= level:
            rest: list[Link] = []
            while _LEVELS.get(self.sign()) == here:
                token = self.next()
                rest.append(Link(token.text, self.chain(here + 1, depth), token.position))
            left = _NODES[here](left, rest)
        return left

    def operand(self, depth: int) -> Node:
        token = self.tokens[self.at]
        if depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH} levels", token.position)
        if self.take("not"):
            return nodes.inverse(self.chain(_COMPARISON, depth + 1), token.position)
        if self.take("-") or self.take("+"):
            return nodes.signed(token.text, self.operand(depth + 1), token.position)
        base = self.primary(depth)
        raised = self.tokens[self.at]
        if not self.take("^"):
            return base
        return nodes.arithmetic(base, [Link("^", self.operand(depth + 1), raised.position)])

    def primary(self, depth: int) -> Node:
        token = self.next()
        if token.kind == "number":
            return nodes.constant(_literal(token))
        if token.kind == "text":
            return nodes.constant(token.text[1:-1])
        if token.kind == "name":
            if self.take("("):
                return self.call(token, depth)
            return self.name(token)
        if token.text != "(":
            self.at -= 1
            raise self.unexpected()
        node = self.choice(depth + 1)
        self.expect(")")
        return node

    def call(self, token: _Token, depth: int) -> Node:
        if token.text not in FUNCTIONS:
            known = ", ".join(FUNCTIONS)
            raise ExpressionError(
                f"no function {shown(token.text)}; there are {known}", token.position
            )
        count, function = FUNCTIONS[token.text]
        arguments = [self.choice(depth + 1)]
        while len(arguments) < count:
            self.expect(",")
            arguments.append(self.choice(depth + 1))
        self.expect(")")
        return nodes.call(function, arguments, token.position)

    def name(self, token: _Token) -> Node:
        root, dot, _ = token.text.partition(".")
        if root not in ROOTS or not dot:
            begin = ", ".join(f"{one}.*" for one in ROOTS)
            raise ExpressionError(
                f"unknown name {shown(token.text)}; names are {begin}", token.position
            )
        self.names[token.text] = None
        return nodes.lookup(token.text, token.position)

    def sign(self) -> str:
        token = self.tokens[self.at]
        return token.text if token.kind == "sign" else ""

    def next(self) -> _Token:
        self.at += 1
        return self.tokens[self.at - 1]

    def take(self, sign: str) -> bool:
        if self.sign() != sign:
            return False
        self.at += 1
        return True

    def expect(self, sign: str) -> None:
        if not self.take(sign):
            raise self.unexpected(f", {shown(sign)} expected")

    def unexpected(self, wanted: str = "") -> ExpressionError:
        token = self.tokens[self.at]
        found = f"unexpected {shown(token.text)}" if token.text else "unexpected end"
        return ExpressionError(found + wanted, token.position)


def _literal(token: _Token) -> float:
    value = float(token.text)
    if not math.isfinite(value):
        raise ExpressionError(f"{shown(token.text)} is too large", token.position)
    return value
