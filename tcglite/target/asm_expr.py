"""Words and expressions of assembly source.

GNU syntax as LLVM reads it: comments `#`, `//` and `/* */`, statements ended by a newline or `;`,
64-bit expressions in which `| & ^` bind tighter than `+ -` and `* / % << >>` tightest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from tcglite.errors import TcgliteError


class Token(NamedTuple):
    """One word of the source."""

    kind: str
    """name, int, str, local (1f, 1b), op, or end (of a statement)."""
    text: str
    line: int
    """From 1."""
    column: int
    """From 0."""


class AsmError(TcgliteError):
    """The source cannot be assembled. The text is the message, the source line, and a caret."""

    def __init__(self, message: str, tokens: list[Token], source: str) -> None:
        """`tokens` are the words at fault, all of one line of `source`; empty if there are none."""
        self.message = message
        self.line = tokens[0].line if tokens else 0
        self.column = tokens[0].column if tokens else 0
        text = message
        if tokens:
            line = source.split("\n")[self.line - 1].rstrip("\r")
            last = [token for token in tokens if token.line == self.line][-1]
            width = max(last.column + len(last.text) - self.column, 1)
            margin = re.sub(r"[^\t]", " ", line[: self.column])
            text = f"line {self.line}: {message}\n{line}\n{margin}{'^' * width}"
        super().__init__(text)


class SyntaxFault(Exception):
    """An error on its way to becoming an `AsmError`, which adds the source line."""

    def __init__(self, message: str, tokens: list[Token]) -> None:
        super().__init__(message)
        self.message = message
        self.tokens = tokens


_WORDS = re.compile(
    r"""
      (?P<space>[ \t\r\f]+ | \#[^\n]* | //[^\n]* | /\*.*?\*/)
    | (?P<end>[\n;])
    | (?P<local>\d+[fb](?![\w.$]))
    | (?P<int>(?:0[xX][0-9a-fA-F]+ | 0[bB][01]+ | 0[0-7]* | [1-9]\d*)(?![\w.$])
        | '(?:\\.|[^'\\\n])')
    | (?P<str>"(?:\\.|[^"\\\n])*")
    | (?P<name>[A-Za-z_.$][\w.$]*)
    | (?P<op><<|>>|[-+*%&|^~()!,:=@]|/(?!\*))
    | (?P<bad>/\* | ["'] | \w+ | .)
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)

_BAD_WORD = {
    "/*": "this comment is never closed",
    '"': "this string is not closed on its line",
    "'": "expected one character between single quotes",
}


def statements(source: str) -> Iterator[list[Token]]:
    """The words of each statement that has any."""
    line, start = 1, 0
    statement: list[Token] = []
    for match in _WORDS.finditer(source):
        kind, text = match.lastgroup or "", match[0]
        if kind == "end":
            if statement:
                yield statement
            statement = []
        elif kind != "space":
            token = Token(kind, text, line, match.start() - start)
            if kind == "bad":
                what = _BAD_WORD.get(text)
                if what is None:
                    noun = "number" if text[0].isdigit() else "character"
                    what = f"{text!r} is not a {noun} that belongs here"
                raise SyntaxFault(what, [token])
            statement.append(token)
        if "\n" in text:
            line += text.count("\n")
            start = match.start() + text.rindex("\n") + 1
    if statement:
        yield statement


_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]+|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {"n": 10, "t": 9, "r": 13, "b": 8, "f": 12, "\\": 92, '"': 34, "'": 39}


def unquote(token: Token) -> bytes:
    """The bytes of a quoted string or character (text is UTF-8)."""
    result, at, text = b"", 0, token.text[1:-1]
    for match in _ESCAPE.finditer(text):
        result += text[at : match.start()].encode()
        at = match.end()
        code = match[1]
        if code[0] == "x" and len(code) > 1:
            value = int(code[1:], 16) & 0xFF
        elif code.isdigit():
            value = int(code, 8) & 0xFF
        elif code in _ESCAPES:
            value = _ESCAPES[code]
        else:
            raise SyntaxFault(f"unknown escape \\{code} (known: \\n \\t \\r \\0 \\x41 …)", [token])
        result += bytes([value])
    return result + text[at:].encode()


def number(token: Token) -> int:
    """The value of an `int` token."""
    text = token.text
    if len(text) > 80:
        raise SyntaxFault("this number does not fit in 64 bits", [token])
    if text[0] == "'":
        value = unquote(token)
        if len(value) != 1:
            raise SyntaxFault("a character constant is one byte", [token])
        return value[0]
    if text[:2] in ("0x", "0X", "0b", "0B"):
        result = int(text, 0)
    else:
        result = int(text, 8 if text[0] == "0" else 10)
    if result >> 64:
        raise SyntaxFault("this number does not fit in 64 bits", [token])
    return result


class Symbol:
    """A name with a value: a label (its address is known after layout) or an expression."""

    __slots__ = ("address", "expr", "is_global", "kind", "name", "section", "size", "token")

    def __init__(self, name: str, token: Token | None = None) -> None:
        self.name = name
        self.token = token
        """Where it was used first, for the message if it stays undefined."""
        self.expr: Expr | None = None
        self.section: str | None = None
        """Labels: the section's name. Neither this nor `expr`: undefined so far."""
        self.address = 0
        self.is_global = False
        self.kind = ""
        """What `.type` said: function, object …"""
        self.size: Expr | None = None
        """What `.size` said."""

    @property
    def defined(self) -> bool:
        return self.section is not None or self.expr is not None


@dataclass(frozen=True, slots=True)
class Expr:
    """An expression: a number, a symbol, or an operator with one or two operands."""

    op: str
    """`num`, `sym`, or the operator."""
    value: int
    symbol: Symbol | None
    left: Expr | None
    right: Expr | None
    tokens: tuple[Token, ...]
    parts: int = 1
    """Numbers, symbols and operators in it; bounded, so that no input exhausts the host."""


_MAX_PARTS = 200


def constant(value: int) -> Expr:
    """The expression that is this number."""
    return Expr("num", value, None, None, None, ())


def reference(symbol: Symbol, token: Token | None = None) -> Expr:
    """The expression that is this symbol."""
    return Expr("sym", 0, symbol, None, None, (token,) if token else ())


def wrap(value: int) -> int:
    """To 64 bits, as a signed number."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def _divide(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


_BINARY: dict[str, tuple[int, Callable[[int, int], int]]] = {
    "+": (1, lambda a, b: a + b),
    "-": (1, lambda a, b: a - b),
    "|": (2, lambda a, b: a | b),
    "&": (2, lambda a, b: a & b),
    "^": (2, lambda a, b: a ^ b),
    "*": (3, lambda a, b: a * b),
    "/": (3, _divide),
    "%": (3, lambda a, b: a - b * _divide(a, b)),
    "<<": (3, lambda a, b: a << (b & 63)),
    ">>": (3, lambda a, b: a % (1 << 64) >> (b & 63)),
}
"""Binding strength and meaning. Shifts to the right are logical, as in LLVM's assembler."""


def evaluate(expr: Expr) -> int | None:
    """The value as a signed 64-bit number; None if it depends on something undefined."""
    if expr.op == "num":
        return expr.value
    if expr.op == "sym":
        assert expr.symbol
        if expr.symbol.expr:
            return evaluate(expr.symbol.expr)
        return None if expr.symbol.section is None else expr.symbol.address
    assert expr.left
    a = evaluate(expr.left)
    if a is None:
        return None
    if expr.right is None:
        return wrap({"-": -a, "~": ~a, "!": int(not a), "+": a}[expr.op])
    b = evaluate(expr.right)
    if b is None:
        return None
    if b == 0 and expr.op in "/%":
        raise SyntaxFault("division by zero", list(expr.tokens))
    return wrap(_BINARY[expr.op][1](a, b))


def symbols_in(expr: Expr) -> Iterator[Symbol]:
    """The labels and undefined symbols that the value depends on."""
    if expr.symbol:
        if expr.symbol.expr:
            yield from symbols_in(expr.symbol.expr)
        else:
            yield expr.symbol
    for part in (expr.left, expr.right):
        if part:
            yield from symbols_in(part)


def known(expr: Expr) -> int | None:
    """The value if it is a plain number already: no labels, nothing that comes later."""
    return None if any(symbols_in(expr)) else evaluate(expr)


class Parser:
    """Reads expressions from the words of one operand."""

    def __init__(self, tokens: list[Token], symbol: Callable[[Token], Symbol]) -> None:
        """`symbol` finds or makes the symbol that a name, `1f`, `1b` or `.` stands for."""
        self.tokens = tokens
        self.at = 0
        self.symbol = symbol
        self.operands = 0

    def peek(self) -> str:
        """The next word if it is an operator, else the empty string."""
        at_end = self.at >= len(self.tokens)
        return "" if at_end or self.tokens[self.at].kind != "op" else self.tokens[self.at].text

    def expression(self, strength: int = 1) -> Expr:
        """An expression whose operators bind at least this strongly."""
        start = self.at
        left = self._unary()
        while (op := self.peek()) in _BINARY and _BINARY[op][0] >= strength:
            self.at += 1
            right = self.expression(_BINARY[op][0] + 1)
            left = self._combine(op, left, right, self.tokens[start : self.at])
        return left

    def _combine(self, op: str, left: Expr, right: Expr | None, tokens: list[Token]) -> Expr:
        parts = 1 + left.parts + (right.parts if right else 0)
        if parts > _MAX_PARTS:
            raise SyntaxFault("this expression is too long", tokens[:1])
        expr = Expr(op, 0, None, left, right, tuple(tokens), parts)
        if left.op == "num" and (right is None or right.op == "num"):
            value = evaluate(expr)
            assert value is not None
            return Expr("num", value, None, None, None, tuple(tokens))
        return expr

    def _unary(self) -> Expr:
        self.operands += 1
        if self.operands > _MAX_PARTS:
            raise SyntaxFault("this expression is too long", self.tokens[:1])
        if self.at >= len(self.tokens):
            raise SyntaxFault("an expression is missing here", self.tokens[-1:])
        token = self.tokens[self.at]
        self.at += 1
        if token.kind == "int":
            return Expr("num", wrap(number(token)), None, None, None, (token,))
        if token.kind in ("name", "local"):
            symbol = self.symbol(token)
            if symbol.expr:  # its value here and now: .set may change it further down
                return replace(symbol.expr, tokens=(token,))
            return reference(symbol, token)
        if token.text == "(":
            inner = self.expression()
            if self.peek() != ")":
                raise SyntaxFault("this parenthesis is not closed", [token])
            self.at += 1
            return inner
        if token.text in ("-", "+", "~", "!"):
            operand = self._unary()
            return self._combine(token.text, operand, None, [token, *operand.tokens])
        raise SyntaxFault(f"expected a number or a symbol, got {token.text}", [token])

    def whole(self) -> Expr:
        """An expression with nothing behind it."""
        expr = self.expression()
        if self.at < len(self.tokens):
            rest = self.tokens[self.at :]
            raise SyntaxFault(f"unexpected {rest[0].text!r} behind the expression", rest[:1])
        return expr
