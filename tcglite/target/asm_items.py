"""What a section is made of, and where everything ends up.

Items know their size only when addresses are known, and addresses depend on sizes: `layout` starts
with the smallest form of each branch and lets the ones that do not reach grow, until all reach.
"""

from __future__ import annotations

from tcglite.target.asm_encode import encode, expand
from tcglite.target.asm_expr import Expr, Symbol, SyntaxFault, Token, evaluate, known, symbols_in
from tcglite.target.insns import ROWS, Field, Row


def value_of(expr: Expr) -> int:
    """The value after layout; what is still undefined is an error."""
    value = evaluate(expr)
    if value is None:
        for symbol in symbols_in(expr):
            if not symbol.defined:
                what = f"undefined symbol {symbol.name}"
                raise SyntaxFault(what, [symbol.token] if symbol.token else list(expr.tokens))
    assert value is not None
    return value


class Item:
    """A stretch of a section."""

    size = 0
    address = 0

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        """The words to show if something is wrong with it."""

    def known_size(self, offset: int | None) -> int | None:
        """The size if it is certain while reading; `offset` in the section, if that is certain."""
        return self.size

    def measure(self, section: Section) -> None:
        """Set `size` for the present `address` and the present addresses of all labels."""

    def grow(self, section: Section) -> bool:
        """Take a larger form if the present one does not reach; True if it did."""
        return False

    def emit(self) -> bytes:
        """The bytes, after layout: `size` of them."""
        return b""

    def has_data(self) -> bool:
        """Is there anything but zeros in it, after layout?"""
        return any(self.emit())


class Section:
    """A named section: its items in order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_code = name == ".text" or name.startswith(".text.")
        self.is_bss = name in (".bss", ".sbss") or name.startswith((".bss.", ".sbss."))
        self.is_writable = not self.is_code and not name.startswith((".rodata", ".srodata"))
        self.alignment = 2 if self.is_code else 1
        self.address = 0
        self.size = 0
        self.items: list[Item] = []


class Label(Item):
    """The place of a label."""

    def __init__(self, symbol: Symbol, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self.symbol = symbol

    def measure(self, section: Section) -> None:
        self.symbol.address = self.address


class Bytes(Item):
    """Bytes that are known."""

    def __init__(self, data: bytes, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self.data = data
        self.size = len(data)

    def emit(self) -> bytes:
        return self.data


class Value(Item):
    """A number, little-endian."""

    def __init__(self, width: int, expr: Expr, tokens: list[Token]) -> None:
        """`width`: bytes."""
        super().__init__(tokens)
        self.size = width
        self.expr = expr

    def emit(self) -> bytes:
        value, bits = value_of(self.expr), 8 * self.size
        # Expressions are signed: from 2^63 on, a 64-bit number looks negative.
        if bits < 64 and not -(1 << bits - 1) <= value < 1 << bits:
            room = "a byte" if self.size == 1 else f"{self.size} bytes"
            raise SyntaxFault(f"{value} does not fit in {room}", self.tokens)
        return (value % (1 << bits)).to_bytes(self.size, "little")


class Fill(Item):
    """A pattern, repeated: .zero, .space, .fill."""

    def __init__(self, count: Expr, width: int, value: Expr, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self.count, self.width, self.value = count, width, value

    def known_size(self, offset: int | None) -> int | None:
        count = known(self.count)
        return None if count is None else max(count, 0) * self.width

    def measure(self, section: Section) -> None:
        count = evaluate(self.count)
        self.size = max(count or 0, 0) * self.width
        if self.size > MAX_SIZE:
            raise SyntaxFault(f"{self.size} bytes are more than 256 MiB", self.tokens)

    def emit(self) -> bytes:
        count = value_of(self.count)
        if count < 0:
            raise SyntaxFault(f"the number of times is negative: {count}", self.tokens)
        value = value_of(self.value) % (1 << 8 * self.width)
        return value.to_bytes(self.width, "little") * count

    def has_data(self) -> bool:
        return self.size > 0 and value_of(self.value) != 0


class Align(Item):
    """Up to the next multiple; with no-operations in code, if no value is given."""

    def __init__(
        self, multiple: int, fill: Expr | None, limit: int | None, rvc: bool, tokens: list[Token]
    ) -> None:
        """`limit`: do nothing if more bytes than that would be needed."""
        super().__init__(tokens)
        self.multiple, self.fill, self.limit, self.rvc = multiple, fill, limit, rvc
        self.code = False

    def known_size(self, offset: int | None) -> int | None:
        if offset is None or self.limit is not None:
            return None
        return -offset % self.multiple  # the section is aligned at least as much

    def measure(self, section: Section) -> None:
        self.code = section.is_code
        self.size = -self.address % self.multiple
        if self.limit is not None and self.size > self.limit:
            self.size = 0

    def emit(self) -> bytes:
        if self.fill:
            return bytes([value_of(self.fill) & 0xFF]) * self.size
        if not self.code:
            return bytes(self.size)
        pad = bytes(self.size % 2)
        if self.size % 4 >= 2:
            pad += b"\x01\x00" if self.rvc else b"\x00\x00"
        return pad + b"\x13\x00\x00\x00" * (self.size // 4)


class Org(Item):
    """Up to an offset in the section (or to a label), filled with zeros."""

    def __init__(self, to: Expr, fill: Expr | None, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self.to, self.fill = to, fill
        self.gap = 0

    def known_size(self, offset: int | None) -> int | None:
        return None

    def measure(self, section: Section) -> None:
        to = evaluate(self.to) or 0
        if not any(symbols_in(self.to)):
            to += section.address
        self.gap = to - self.address
        self.size = max(self.gap, 0)
        if self.size > MAX_SIZE:
            raise SyntaxFault(f"{self.size} bytes are more than 256 MiB", self.tokens)

    def emit(self) -> bytes:
        if self.gap < 0:
            raise SyntaxFault(f".org cannot go back ({-self.gap} bytes here)", self.tokens)
        return bytes([value_of(self.fill) & 0xFF if self.fill else 0]) * self.size


def check_fits(field: Field, value: int, name: str, tokens: list[Token], note: str = "") -> None:
    """Raise if an immediate is out of range or not a multiple of what it must be."""
    low, high, step = field.limits()
    if value % step:
        raise SyntaxFault(f"{name}: {value} is not a multiple of {step}", tokens)
    if not low <= value <= high:
        raise SyntaxFault(f"{name}: {value} is out of range ({low} to {high}){note}", tokens)


class Code(Item):
    """An instruction whose immediate, if it has an open one, is that of a symbol."""

    def __init__(
        self, row: Row, fields: dict[str, int], tokens: list[Token],
        kind: str = "", expr: Expr | None = None,
    ) -> None:  # fmt: skip
        """`kind`: how `expr` becomes `imm`: hi, lo, pcrel_hi, pcrel_lo, pcrel or absolute."""
        super().__init__(tokens)
        self.row, self.fields, self.kind, self.expr = row, fields, kind, expr
        self.partner: Code | None = None
        """For pcrel_lo: the instruction with the pcrel_hi, once layout is done."""
        self.size = row.length

    def distance(self) -> int:
        """From here to where the expression points."""
        assert self.expr
        return value_of(self.expr) - self.address

    def _immediate(self) -> int:
        assert self.expr
        tokens = list(self.expr.tokens) or self.tokens
        if self.kind == "pcrel_lo":
            if self.partner is None:
                raise SyntaxFault("%pcrel_lo needs the label of an auipc with %pcrel_hi", tokens)
            return (self.partner.distance() + 0x800) % 0x1000 - 0x800
        if self.kind == "lo":
            return (value_of(self.expr) + 0x800) % 0x1000 - 0x800
        if self.kind == "hi":
            value = value_of(self.expr) + 0x800 & ~0xFFF
            if not -(1 << 31) <= value < 1 << 31:
                what = f"%hi reaches -0x80000800 to 0x7ffff7ff, not {value_of(self.expr):#x}"
                raise SyntaxFault(f"{what}: use la", tokens)
            return value
        value = value_of(self.expr) if self.kind == "absolute" else self.distance()
        if self.kind == "pcrel_hi":
            value = value + 0x800 & ~0xFFF
        note = "" if self.kind == "absolute" else ": too far away"
        check_fits(self.row.field("imm"), value, self.row.name, tokens, note)
        return value

    def emit(self) -> bytes:
        fields = self.fields
        if self.expr:
            fields = fields | {"imm": self._immediate()}
        return encode(self.row, fields).to_bytes(self.size, "little")


INVERSE = {
    "beq": "bne", "bne": "beq", "blt": "bge", "bge": "blt", "bltu": "bgeu", "bgeu": "bltu",
}  # fmt: skip


class Branch(Code):
    """A branch or jump to a label, in the smallest form that reaches.

    Forms, as in LLVM: compressed; the plain instruction; the opposite branch over a jump. A label
    in another section or a global one counts as out of reach (the linker decides where it is).
    """

    def __init__(
        self, row: Row, fields: dict[str, int], tokens: list[Token], expr: Expr, rvc: bool
    ) -> None:
        super().__init__(row, fields, tokens, "pcrel", expr)
        self.rvc = rvc
        self.jump_offset = 0
        """Where the jump is, in the form with an opposite branch."""

    def known_size(self, offset: int | None) -> int | None:
        return None

    def _reaches(self, section: Section) -> bool:
        assert self.expr
        for symbol in symbols_in(self.expr):
            if symbol.section != section.name or symbol.is_global:
                return False
        return self.row.field("imm").fits(self.distance())

    def grow(self, section: Section) -> bool:
        if self.jump_offset or self.row.name == "jal" or self._reaches(section):
            return False
        if self.row.base:
            self.row, self.fields = expand(self.row, self.fields)
            self.size = 4
        else:
            self.jump_offset = 2 if self._short() else 4
            self.size = self.jump_offset + 4
        return True

    def _short(self) -> tuple[Row, dict[str, int]] | None:
        """The opposite branch over the jump in its compressed form, if it has one."""
        opposite = ROWS[INVERSE[self.row.name]]
        for register, other in (("rs1", "rs2"), ("rs2", "rs1")):
            if self.rvc and opposite.name in ("beq", "bne") and self.fields[other] == 0:
                row = ROWS["c.beqz" if opposite.name == "beq" else "c.bnez"]
                if row.field("rs1").fits(self.fields[register]):
                    return row, {"rs1": self.fields[register], "imm": 6}
        return None

    def emit(self) -> bytes:
        if not self.jump_offset:
            return super().emit()
        row, fields = self._short() or (ROWS[INVERSE[self.row.name]], self.fields | {"imm": 8})
        jump = Code(ROWS["jal"], {"rd": 0}, self.tokens, "pcrel", self.expr)
        jump.address = self.address + self.jump_offset
        return encode(row, fields).to_bytes(row.length, "little") + jump.emit()


MAX_SIZE = 1 << 28
"""Bytes in one item, so that a slip of the pen does not fill the host's memory."""
_MAX_ROUNDS = 1000


def _place(sections: list[Section], origin: int) -> bool:
    """Give every section and item its address; True if one changed."""
    address, changed = origin, False
    for section in sections:
        address += -address % section.alignment
        changed |= section.address != address
        section.address = address
        for item in section.items:
            changed |= item.address != address
            item.address = address
            item.measure(section)
            address += item.size
        section.size = address - section.address
    return changed


def layout(sections: list[Section], origin: int) -> None:
    """Give every item its address and final form."""
    for _ in range(_MAX_ROUNDS):
        if _place(sections, origin):
            continue
        grown = [item.grow(section) for section in sections for item in section.items]
        if not any(grown):
            break
    else:
        raise SyntaxFault("sizes and addresses depend on each other and do not settle", [])
    partners = {
        item.address: item
        for section in sections
        for item in section.items
        if isinstance(item, Code) and item.kind == "pcrel_hi"
    }
    for section in sections:
        for item in section.items:
            if isinstance(item, Code) and item.kind == "pcrel_lo":
                assert item.expr
                item.partner = partners.get(value_of(item.expr))
