"""Which operands a mnemonic takes, and reading them into the fields of an instruction.

The forms of a mnemonic are those of the rows in `insns` and `insns_alias`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from tcglite.target.asm_expr import Expr, SyntaxFault, Token, known
from tcglite.target.asm_items import check_fits
from tcglite.target.asm_unit import Unit
from tcglite.target.insns import FIELD_OF_OPERAND, ROWS, Row
from tcglite.target.insns_alias import ALIASES
from tcglite.target.names import CSR_NUMBERS, FREG_NUMBERS, REG_NUMBERS, ROUNDING_MODES


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write an instruction."""

    row: Row
    operands: tuple[str, ...]
    """The syntax of each operand, such as `rd` or `imm(rs1)`."""
    preset: tuple[tuple[str, int], ...]
    """Fields that no operand gives."""
    expansion: tuple[tuple[str, str | int], ...]
    """For aliases: (field of the row, field that an operand gives, or a constant)."""


Open = tuple[str, Expr]
"""An immediate that is known only after layout: kind (see `asm_items.Code`) and expression."""


def _row_forms(row: Row) -> Iterable[Form]:
    operands = tuple(piece.strip() for piece in row.operands.split(",") if piece)
    if operands == ("order",):
        operands = ("pred", "succ")
    yield Form(row, operands, (), ())
    if operands and operands[-1].startswith("rm"):
        mode = 0 if operands[-1] == "rm=rne" else 7
        yield Form(row, operands[:-1], (("rm", mode),), ())


FORMS: dict[str, list[Form]] = {name: list(_row_forms(row)) for name, row in ROWS.items()}
"""The forms of each mnemonic, in the order in which they are tried."""
for _alias in ALIASES:
    _pieces = tuple(piece.strip() for piece in _alias.operands.split(",") if piece)
    FORMS.setdefault(_alias.name, []).append(Form(_alias.base, _pieces, (), _alias.expansion))


def split_operands(tokens: list[Token], may_be_empty: bool = False) -> list[list[Token]]:
    """The words between the commas outside of parentheses."""
    if not tokens:
        return []
    operands: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        if token.text == "," and token.kind == "op" and depth == 0:
            operands.append([])
            continue
        if token.kind == "op":
            depth += (token.text == "(") - (token.text == ")")
        operands[-1].append(token)
    for n, operand in enumerate(operands):
        if not operand and not may_be_empty:
            at = operands[n - 1][-1:] if n else tokens[:1]
            raise SyntaxFault("an operand is missing next to this", at)
    return operands


def shape_of(tokens: list[Token]) -> str:
    """What an operand looks like: reg, freg, mem (`offset(reg)`) or expr."""
    first = tokens[0].text
    if len(tokens) == 1:
        return "reg" if first in REG_NUMBERS else "freg" if first in FREG_NUMBERS else "expr"
    in_parentheses = len(tokens) >= 3 and tokens[-3].text == "(" and tokens[-1].text == ")"
    return "mem" if in_parentheses and tokens[-2].text in REG_NUMBERS else "expr"


def _wanted_shape(piece: str) -> str:
    if piece.endswith(")"):
        return "mem"
    if piece in ("rd", "rs1", "rs2", "rs3", "sp"):
        return "reg"
    return "freg" if piece in ("frd", "frs1", "frs2", "frs3") else "expr"


def suggestion(word: str, known_words: Iterable[str]) -> str:
    """ " (did you mean …?)" if a known word is close; of equally close ones the first."""

    def likeness(other: str) -> float:
        return difflib.SequenceMatcher(None, word.lower(), other).ratio()

    best = max(known_words, key=likeness)
    return f" (did you mean {best}?)" if likeness(best) >= 0.6 else ""


class OperandReader:
    """Reads the operands of one instruction into fields."""

    def __init__(self, unit: Unit, name: str) -> None:
        self.unit = unit
        self.name = name
        self.fields: dict[str, int] = {}
        self.open: Open | None = None

    def read(self, row: Row, piece: str, tokens: list[Token]) -> None:
        """One operand, written as `piece` says."""
        shape = _wanted_shape(piece)
        if shape == "reg":
            number = self._register(tokens)
            if piece == "sp" and number != 2:
                raise SyntaxFault(f"{self.name} works on sp only", tokens)
            if piece != "sp":
                self._set_register(row, piece, number, tokens)
        elif shape == "freg":
            name = tokens[0].text
            if shape_of(tokens) != "freg":
                what = "expected a floating-point register (f0 to f31, fa0, ft0 …)"
                raise SyntaxFault(what, tokens)
            self._set_register(row, FIELD_OF_OPERAND[piece], FREG_NUMBERS[name], tokens)
        elif shape == "mem":
            self._memory(row, piece, tokens)
        elif piece in ("imm", "shamt"):
            self._immediate(row, tokens)
        else:
            getattr(self, f"_{piece.partition('=')[0]}")(row, tokens)

    def _register(self, tokens: list[Token]) -> int:
        if shape_of(tokens) != "reg":
            given = "".join(token.text for token in tokens)
            what = f"expected an integer register (x0 to x31, ra, sp, a0 …), got {given}"
            raise SyntaxFault(what + suggestion(given, REG_NUMBERS), tokens)
        return REG_NUMBERS[tokens[0].text]

    def _set_register(self, row: Row, field: str, number: int, tokens: list[Token]) -> None:
        if row.base and not row.field(field).fits(number):
            raise SyntaxFault(f"{self.name} reaches only x8 to x15 (s0, s1, a0 to a5)", tokens)
        self.fields[field] = number

    def _memory(self, row: Row, piece: str, tokens: list[Token]) -> None:
        if shape_of(tokens) != "mem":
            what = "(register)" if piece[0] == "(" else "offset(register)"
            raise SyntaxFault(
                f"expected {what}, as in {'' if piece[0] == '(' else '8'}(a0)", tokens
            )
        offset, register = tokens[:-3], tokens[-2:-1]
        base = piece[piece.index("(") + 1 : -1]
        if base == "sp":
            if REG_NUMBERS[register[0].text] != 2:
                raise SyntaxFault(f"{self.name} works on sp only", register)
        else:
            self._set_register(row, base, REG_NUMBERS[register[0].text], register)
        if piece[0] == "(":
            if offset and known(self.unit.parser(offset).whole()) != 0:
                raise SyntaxFault(f"{self.name} takes no offset", offset)
        elif offset:
            self._immediate(row, offset)
        else:
            self.fields["imm"] = 0

    def modifier(self, tokens: list[Token]) -> Open | None:
        """`%hi(expression)` and its like."""
        if len(tokens) < 4 or tokens[0].text != "%" or tokens[2].text != "(":
            return None
        name = tokens[1].text
        if name not in ("hi", "lo", "pcrel_hi", "pcrel_lo"):
            raise SyntaxFault(f"unknown operator %{name} (known: %hi %lo %pcrel_hi %pcrel_lo)",
                              tokens[:2])  # fmt: skip
        return name, self.unit.parser(tokens[2:]).whole()

    def _immediate(self, row: Row, tokens: list[Token]) -> None:
        opened = self.modifier(tokens)
        if opened:
            if opened[0] not in ("lo", "pcrel_lo") or row.base or "shamt" in row.operands:
                raise SyntaxFault(f"{self.name} cannot take %{opened[0]} here", tokens)
            self.open = opened
            return
        value = known(self.unit.parser(tokens).whole())
        if value is None:
            what = "expected a number; for the address of a symbol use la, or %lo(symbol) after lui"
            raise SyntaxFault(what, tokens)
        check_fits(row.field("imm"), value, self.name, tokens)
        self.fields["imm"] = value

    def _hi20(self, row: Row, tokens: list[Token]) -> None:
        opened = self.modifier(tokens)
        if opened:
            if opened[0] not in ("hi", "pcrel_hi") or row.base:
                raise SyntaxFault(f"{self.name} cannot take %{opened[0]}", tokens)
            self.open = opened
            return
        value = known(self.unit.parser(tokens).whole())
        if value is None:
            raise SyntaxFault("expected a number, %hi(symbol) or %pcrel_hi(symbol)", tokens)
        imm = (value << 12 ^ 1 << 31) - (1 << 31)
        if not 0 <= value < 1 << 20 or not row.field("imm").fits(imm):
            limits = "1 to 31 or 0xfffe0 to 0xfffff" if row.base else "0 to 0xfffff"
            raise SyntaxFault(f"{self.name}: {value} is out of range ({limits})", tokens)
        self.fields["imm"] = imm

    def _addr(self, row: Row, tokens: list[Token]) -> None:
        expr = self.unit.parser(tokens).whole()
        distance = known(expr)
        if distance is None:
            self.open = ("pcrel", expr)
            return
        note = "; a number here is a distance in bytes, a label is clearer"
        check_fits(row.field("imm"), distance, self.name, tokens, note)
        self.fields["imm"] = distance

    def _number(self, tokens: list[Token], high: int, what: str) -> int:
        value = known(self.unit.parser(tokens).whole())
        if value is None or not 0 <= value <= high:
            given = "".join(token.text for token in tokens)
            raise SyntaxFault(f"expected {what} (0 to {high}), got {given}", tokens)
        return value

    def _zimm(self, row: Row, tokens: list[Token]) -> None:
        self.fields["rs1"] = self._number(tokens, 31, "a small number")

    def _csr(self, row: Row, tokens: list[Token]) -> None:
        name = tokens[0].text
        if len(tokens) == 1 and name in CSR_NUMBERS:
            self.fields["csr"] = CSR_NUMBERS[name]
        elif len(tokens) == 1 and tokens[0].kind == "name" and name not in self.unit.symbols:
            raise SyntaxFault(f"unknown CSR {name}" + suggestion(name, CSR_NUMBERS), tokens)
        else:
            self.fields["csr"] = self._number(tokens, 0xFFF, "a CSR's name or number")

    def _rm(self, row: Row, tokens: list[Token]) -> None:
        name = tokens[0].text
        if len(tokens) > 1 or name not in ROUNDING_MODES:
            raise SyntaxFault("expected a rounding mode: rne rtz rdn rup rmm dyn", tokens)
        self.fields["rm"] = ROUNDING_MODES.index(name)

    def _order(self, tokens: list[Token]) -> int:
        text = tokens[0].text
        letters = [letter for letter in "iorw" if letter in text]
        if len(tokens) > 1 or (text != "0" and text != "".join(letters)):
            raise SyntaxFault("expected letters out of iorw, in that order, or 0", tokens)
        return sum(8 >> "iorw".index(letter) for letter in letters)

    def _pred(self, row: Row, tokens: list[Token]) -> None:
        self.fields["imm"] = self._order(tokens) << 4

    def _succ(self, row: Row, tokens: list[Token]) -> None:
        self.fields["imm"] |= self._order(tokens)


def choose(
    name: str, forms: list[tuple[str, ...]], operands: list[list[Token]], head: Token
) -> int:
    """Which form fits the operands; by their number, then by what they look like."""
    counts = [n for n, form in enumerate(forms) if len(form) == len(operands)]
    if not counts:
        ways = " or ".join(", ".join(form) or "no operands" for form in forms)
        raise SyntaxFault(f"{name} takes {ways}", [head, *(operands[-1] if operands else [])])
    shapes = [shape_of(tokens) for tokens in operands]
    for n in counts:
        if [_wanted_shape(piece) for piece in forms[n]] == shapes:
            return n
    return counts[0]


def assemble_instruction(unit: Unit, head: Token, operands: list[list[Token]]) -> None:
    """Add the instruction (or the alias of one) of a statement."""
    name, order = head.text, ""
    if name not in FORMS:
        for suffix in (".aqrl", ".aq", ".rl"):
            if name.endswith(suffix) and name.removesuffix(suffix) in FORMS:
                name, order = name.removesuffix(suffix), suffix
                break
    forms = FORMS.get(name, [])
    has_order = bool(forms) and "q" in forms[0].row.pattern
    if not forms or (order and not has_order):
        raise SyntaxFault(f"unknown instruction {head.text}" + suggestion(head.text, FORMS), [head])
    form = forms[choose(name, [form.operands for form in forms], operands, head)]
    reader = OperandReader(unit, name)
    for piece, tokens in zip(form.operands, operands, strict=True):
        reader.read(form.row, piece, tokens)
    fields = reader.fields | dict(form.preset)
    if form.expansion:
        fields = {
            field: source if isinstance(source, int) else fields[source]
            for field, source in form.expansion
            if isinstance(source, int) or source in fields
        }
    if has_order:
        fields |= {"aq": int("aq" in order), "rl": int("rl" in order)}
    row = form.row
    for field, value in row.where:
        if fields.get(field) == value:
            raise SyntaxFault(f"{name}: this encoding is reserved", [head, *operands[-1]])
    kind, expr = reader.open or ("", None)
    unit.emit(row.name, fields, kind, expr)
