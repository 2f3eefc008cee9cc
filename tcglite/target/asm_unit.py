"""The source as far as it has been read: sections, symbols, options; where items are added."""

from __future__ import annotations

from tcglite.target.asm_encode import compress, encode
from tcglite.target.asm_expr import (
    Expr,
    Parser,
    Symbol,
    SyntaxFault,
    Token,
    evaluate,
    reference,
    symbols_in,
)
from tcglite.target.asm_items import Branch, Bytes, Code, Item, Label, Section
from tcglite.target.insns import ROWS


class _Position:
    """How far a section has come, as far as that is known while reading.

    `offset` counts from the section's start (`stretch` 0) or from a later place behind something
    of unknown size, so labels of one stretch have a known distance.
    """

    def __init__(self) -> None:
        self.stretch = 0
        self.offset = 0

    def advance(self, item: Item) -> None:
        """Go past an item that has just been added."""
        size = item.known_size(None if self.stretch else self.offset)
        if size is None:
            self.stretch += 1
            self.offset = 0
        else:
            self.offset += size


class Unit:
    """One source: everything that statements read and write."""

    def __init__(self) -> None:
        self.sections: dict[str, Section] = {}
        self.section = self.switch(".text")
        self.symbols: dict[str, Symbol] = {}
        self.rvc = True
        self.rvc_stack: list[bool] = []
        self.tokens: list[Token] = []
        """The statement being read."""
        self._positions: dict[str, _Position] = {}
        self._label_positions: dict[Symbol, tuple[str, int, int]] = {}
        self._local_counts: dict[str, int] = {}

    def switch(self, name: str) -> Section:
        """Go on in this section; a new one is made."""
        self.section = self.sections.setdefault(name, Section(name))
        return self.section

    def add(self, item: Item) -> None:
        """Append to the current section."""
        self.section.items.append(item)
        self._positions.setdefault(self.section.name, _Position()).advance(item)

    # Symbols

    def parser(self, tokens: list[Token]) -> Parser:
        """A parser for the expressions in these words."""
        return Parser(tokens, self.symbol)

    def symbol(self, token: Token) -> Symbol:
        """The symbol that a word of an expression means."""
        name = token.text
        if name == ".":
            return self.here()
        if token.kind == "local":
            n = self._local_counts.get(name[:-1], 0)
            if name[-1] == "b" and n == 0:
                raise SyntaxFault(f"there is no label {name[:-1]}: above this line", [token])
            key = f"{name[:-1]} {n + (name[-1] == 'f')}"
        else:
            key = name
        if key not in self.symbols:
            self.symbols[key] = Symbol(name, token)
        return self.symbols[key]

    def here(self) -> Symbol:
        """A label without a name at the current place."""
        symbol = Symbol(".")
        self._define(symbol)
        return symbol

    def _define(self, symbol: Symbol) -> None:
        symbol.section = self.section.name
        position = self._positions.setdefault(self.section.name, _Position())
        self._label_positions[symbol] = (self.section.name, position.stretch, position.offset)
        self.add(Label(symbol, self.tokens))

    def define_label(self, token: Token) -> None:
        """`name:` or `1:` at the current place."""
        if token.kind == "int":
            n = self._local_counts[token.text] = self._local_counts.get(token.text, 0) + 1
            symbol = self.symbols.setdefault(f"{token.text} {n}", Symbol(token.text, token))
        else:
            symbol = self.symbols.setdefault(token.text, Symbol(token.text, token))
            if symbol.defined:
                where = f" on line {symbol.token.line}" if symbol.token else ""
                raise SyntaxFault(f"{token.text} is already defined{where}", [token])
            symbol.token = token
        self._define(symbol)

    def define_variable(self, token: Token, expr: Expr) -> None:
        """`name = expr`, .equ, .set."""
        symbol = self.symbols.setdefault(token.text, Symbol(token.text, token))
        if symbol.section is not None:
            raise SyntaxFault(f"{token.text} is already a label", [token])
        if symbol in symbols_in(expr):
            raise SyntaxFault(f"{token.text} is defined in terms of itself", [token])
        symbol.token, symbol.expr = token, expr

    def fold(self, expr: Expr) -> int | None:
        """The value, if it is known while reading: a number, or a distance of fixed size."""
        if not any(symbols_in(expr)):
            return evaluate(expr)
        if expr.op == "-" and expr.left and expr.right and expr.left.symbol and expr.right.symbol:
            a = self._label_positions.get(expr.left.symbol)
            b = self._label_positions.get(expr.right.symbol)
            if a and b and a[:2] == b[:2]:
                return a[2] - b[2]
        return None

    # Instructions

    def emit(
        self, name: str, fields: dict[str, int], kind: str = "", expr: Expr | None = None
    ) -> None:
        """Add an instruction, compressed if it can be.

        `kind` and `expr` describe an immediate that `fields` lacks, as in `Code`.
        """
        row = ROWS[name]
        if row.base and not self.rvc:
            raise SyntaxFault(f"{name} is a compressed instruction, but .option norvc is in force",
                              self.tokens[:1])  # fmt: skip
        if expr is None or (kind == "pcrel" and expr.op == "sym"):
            short = compress(row, fields) if self.rvc and not row.base else None
            row, fields = short or (row, fields)
        if expr is None:
            self.add(Bytes(encode(row, fields).to_bytes(row.length, "little"), self.tokens))
        elif kind == "pcrel":
            self.add(Branch(row, fields, self.tokens, expr, self.rvc))
        else:
            self.add(Code(row, fields, self.tokens, kind, expr))

    def emit_unimp(self) -> None:
        """The 16-bit zero that every implementation takes for an illegal instruction."""
        self.add(Bytes(b"\0\0", self.tokens))

    def emit_pair(self, register: int, name: str, fields: dict[str, int], to: Expr) -> None:
        """`auipc register, %pcrel_hi(to)`, then `name` with the matching %pcrel_lo."""
        auipc = self.here()
        self.emit("auipc", {"rd": register}, "pcrel_hi", to)
        self.emit(name, fields, "pcrel_lo", reference(auipc))
