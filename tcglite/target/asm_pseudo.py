"""Pseudo-instructions that may take several instructions, expanded as LLVM expands them."""

from __future__ import annotations

from collections.abc import Callable

from tcglite.target.asm_expr import Expr, SyntaxFault, Token, known, wrap
from tcglite.target.asm_operands import OperandReader, choose
from tcglite.target.asm_unit import Unit
from tcglite.target.insns import ROWS

Step = tuple[str, int]
"""One instruction of a constant's sequence: name and immediate (lui: without the 12 zeros)."""


def _fits(value: int, bits: int) -> bool:
    return -(1 << bits - 1) <= value < 1 << bits - 1


def _low12(value: int) -> int:
    return (value & 0xFFF ^ 0x800) - 0x800


def _zeros_below(value: int) -> int:
    return (value & -value).bit_length() - 1


def _simple_steps(value: int) -> list[Step]:
    """lui and addi(w) for 32 bits; for more: the upper part first, then shift it and add."""
    low = _low12(value)
    if _fits(value, 32):
        high = value + 0x800 >> 12 & 0xFFFFF
        steps = [("lui", high)] if high else []
        if low or not high:
            # addiw only where the sum overflows 32 bits: lui sign-extends
            wide = wrap((high << 12 ^ 1 << 31) - (1 << 31) + low)
            steps.append(("addi" if _fits(wide, 32) else "addiw", low))
        return steps
    value = wrap(value - low)
    shift = 0
    if not _fits(value, 32):
        shift = _zeros_below(value)
        value >>= shift
        if shift > 12 and not _fits(value, 12) and _fits(value << 12, 32):
            shift -= 12  # lui brings 12 zeros of its own
            value <<= 12
    steps = _simple_steps(value)
    if shift:
        steps.append(("slli", shift))
    if low:
        steps.append(("addi", low))
    return steps


def _shorter(steps: list[Step], other: list[Step], last: Step) -> list[Step]:
    return [*other, last] if len(other) + 1 < len(steps) else steps


def _with_leading_zeros(value: int, steps: list[Step]) -> list[Step]:
    """A shifted constant without leading zeros, and srli to bring them back, if that is shorter."""
    zeros = 64 - value.bit_length()
    ones = (1 << zeros) - 1
    for shifted in (value << zeros | ones, value << zeros):
        steps = _shorter(steps, _simple_steps(wrap(shifted)), ("srli", zeros))
    return steps


def constant_steps(value: int) -> list[Step]:
    """The instructions that make a 64-bit constant; the same choice as LLVM without Zb*."""
    value = wrap(value)
    steps = _simple_steps(value)
    if value & 0xFFF and not value & 1 and len(steps) >= 2:
        zeros = _zeros_below(value)
        other = _simple_steps(value >> zeros)
        if len(other) + 1 < len(steps) or _fits(value >> zeros, 6):
            steps = [*other, ("slli", zeros)]
    if len(steps) <= 2:
        return steps
    if value & 0xFFF and value & 0x1800 == 0x1000:
        low = (value & 0xFFF) - 0x800
        steps = _shorter(steps, _simple_steps(wrap(value - low)), ("addi", low))
    if value > 0 and len(steps) > 2:
        steps = _with_leading_zeros(value, steps)
    if value < 0 and len(steps) > 3:
        inverted = _with_leading_zeros(~value, [("", 0)] * 9)
        steps = _shorter(steps, inverted, ("xori", -1))
    return steps


def _load_constant(unit: Unit, rd: int, value: int) -> None:
    source = 0
    for name, imm in constant_steps(value):
        if name == "lui":
            unit.emit("lui", {"rd": rd, "imm": (imm << 12 ^ 1 << 31) - (1 << 31)})
        else:
            unit.emit(name, {"rd": rd, "rs1": source, "imm": imm})
        source = rd


def _li(unit: Unit, reader: OperandReader, tokens: list[Token]) -> None:
    rd = reader.fields["rd"]
    opened = reader.modifier(tokens)
    if opened and opened[0] in ("lo", "pcrel_lo"):
        unit.emit("addi", {"rd": rd, "rs1": 0}, *opened)
        return
    expr = unit.parser(tokens).whole()
    value = unit.fold(expr)
    if value is not None and (len(tokens) == 1 or known(expr) is not None):
        _load_constant(unit, rd, value)
    elif _net_labels(expr) == 0:
        # LLVM fills the distance of two labels in later, so the instruction stays 4 bytes.
        unit.emit("addi", {"rd": rd, "rs1": 0}, "absolute", expr)
    else:
        what = "li needs a number that is known here; for the address of a symbol use la"
        raise SyntaxFault(what, tokens)


def _net_labels(expr: Expr) -> int | None:
    """Labels added minus labels subtracted; 0 for a distance, None if there is no telling."""
    if expr.symbol:
        return 1
    if not expr.left:
        return 0
    left = _net_labels(expr.left)
    right = _net_labels(expr.right) if expr.right else 0
    if left is None or right is None or expr.op not in "+-":
        return None
    return left + right if expr.op == "+" else left - right


def _la(unit: Unit, reader: OperandReader, tokens: list[Token]) -> None:
    rd = reader.fields["rd"]
    expr = unit.parser(tokens).whole()
    value = known(expr)
    if value is not None:
        _load_constant(unit, rd, value)
    else:
        unit.emit_pair(rd, "addi", {"rd": rd, "rs1": rd}, expr)


def _jump(link: int, register: int) -> Callable[[Unit, OperandReader, list[Token]], None]:
    """auipc and jalr through `register`; an operand `rd` comes instead of both registers."""

    def expand(unit: Unit, reader: OperandReader, tokens: list[Token]) -> None:
        through = reader.fields.get("rd", register)
        fields = {"rd": through if link else 0, "rs1": through}
        unit.emit_pair(through, "jalr", fields, unit.parser(tokens).whole())

    return expand


def _access(name: str) -> Callable[[Unit, OperandReader, list[Token]], None]:
    """A load or store at a symbol: auipc into a scratch register, then the access."""

    def expand(unit: Unit, reader: OperandReader, tokens: list[Token]) -> None:
        given = reader.fields
        scratch = given["rs3"] if "rs3" in given else given["rd"]
        fields = {key: value for key, value in given.items() if key != "rs3"}
        expr = unit.parser(tokens).whole()
        if known(expr) is not None:
            raise SyntaxFault("expected offset(register), as in 8(sp), or a symbol", tokens)
        unit.emit_pair(scratch, name, fields | {"rs1": scratch}, expr)

    return expand


def _two_shifts(count: int, back: str) -> Callable[[Unit, OperandReader, list[Token]], None]:
    def expand(unit: Unit, reader: OperandReader, tokens: list[Token]) -> None:
        rd = reader.fields["rd"]
        unit.emit("slli", {"rd": rd, "rs1": reader.fields["rs1"], "imm": count})
        unit.emit(back, {"rd": rd, "rs1": rd, "imm": count})

    return expand


_Expand = Callable[[Unit, OperandReader, list[Token]], None]

PSEUDO: dict[str, tuple[list[tuple[str, ...]], _Expand]] = {
    "li": ([("rd", "symbol")], _li),
    "la": ([("rd", "symbol")], _la),
    "lla": ([("rd", "symbol")], _la),
    "call": ([("symbol",), ("rd", "symbol")], _jump(1, 1)),
    "tail": ([("symbol",)], _jump(0, 6)),
    "jump": ([("symbol", "rd")], _jump(0, 0)),
    "sext.b": ([("rd", "rs1")], _two_shifts(56, "srai")),
    "sext.h": ([("rd", "rs1")], _two_shifts(48, "srai")),
    "zext.h": ([("rd", "rs1")], _two_shifts(48, "srli")),
    "zext.w": ([("rd", "rs1")], _two_shifts(32, "srli")),
}
"""The forms of each pseudo-instruction and what expands it. `symbol` is any expression; `rs3`
stands for the scratch register of an access."""
for _name, _row in ROWS.items():
    if _row.family == "load" and not _row.base:
        PSEUDO[_name] = [("rd", "symbol")], _access(_name)
    elif _row.family == "store" and not _row.base:
        PSEUDO[_name] = [("rs2", "symbol", "rs3")], _access(_name)
    elif _row.family == "fpload" and not _row.base:
        PSEUDO[_name] = [("frd", "symbol", "rs3")], _access(_name)
    elif _row.family == "fpstore" and not _row.base:
        PSEUDO[_name] = [("frs2", "symbol", "rs3")], _access(_name)


def assemble_pseudo(unit: Unit, head: Token, operands: list[list[Token]]) -> None:
    """Add the instructions that a pseudo-instruction stands for."""
    forms, expand = PSEUDO[head.text]
    form = forms[choose(head.text, forms, operands, head)]
    reader = OperandReader(unit, head.text)
    symbol: list[Token] = []
    for piece, tokens in zip(form, operands, strict=True):
        if piece == "symbol":
            symbol = tokens
        else:
            reader.read(ROWS["fmadd.d" if piece[0] == "f" else "add"], piece, tokens)
    expand(unit, reader, symbol)
