"""The directives: sections, data, symbols, alignment, options."""

from __future__ import annotations

from collections.abc import Callable

from tcglite.target.asm_expr import Expr, SyntaxFault, Token, constant, known, unquote
from tcglite.target.asm_items import Align, Bytes, Fill, Org, Value
from tcglite.target.asm_operands import split_operands, suggestion
from tcglite.target.asm_unit import Unit

Directive = Callable[[Unit, Token, list[list[Token]]], None]
"""Called with the directive's own word and its operands."""

DIRECTIVES: dict[str, Directive] = {}
"""What each directive does."""


def _directive(*names: str) -> Callable[[Directive], Directive]:
    def register(function: Directive) -> Directive:
        for name in names:
            DIRECTIVES[name] = function
        return function

    return register


def _count(head: Token, operands: list[list[Token]], low: int, high: int, usage: str) -> None:
    if not low <= len(operands) <= high:
        raise SyntaxFault(f"{head.text} is written {head.text} {usage}".rstrip(), [head])


def _expr(unit: Unit, tokens: list[Token]) -> Expr:
    return unit.parser(tokens).whole()


def _number(unit: Unit, tokens: list[Token], low: int, high: int) -> int:
    value = known(_expr(unit, tokens))
    if value is None or not low <= value <= high:
        given = "".join(token.text for token in tokens)
        raise SyntaxFault(f"expected a number from {low} to {high}, got {given}", tokens)
    return value


def _name(operands: list[list[Token]], n: int) -> Token:
    tokens = operands[n]
    if len(tokens) != 1 or tokens[0].kind != "name":
        raise SyntaxFault("expected a name", tokens)
    return tokens[0]


@_directive(".text", ".data", ".rodata", ".bss")
def _standard_section(unit: Unit, head: Token, operands: list[list[Token]]) -> None:
    _count(head, operands, 0, 0, "")
    unit.switch(head.text)


@_directive(".section")
def _section(unit: Unit, head: Token, operands: list[list[Token]]) -> None:
    _count(head, operands, 1, 5, 'name, "flags", @type')
    name = "".join(token.text for token in operands[0])
    is_new = name not in unit.sections
    section = unit.switch(name)
    if is_new and len(operands) > 1:
        if operands[1][0].kind != "str":
            raise SyntaxFault('expected flags, such as "ax" or "aw"', operands[1])
        flags = unquote(operands[1][0]).decode()
        section.is_code = "x" in flags
        section.is_writable = "w" in flags
        section.is_bss |= len(operands) > 2 and operands[2][-1].text == "nobits"


@_directive(".globl", ".global", ".weak")
def _global(unit: Unit, head: Token, operands: list[list[Token]]) -> None:
    _count(head, operands, 1, 99, "name, …")
    for n in range(len(operands)):
        unit.symbol(_name(operands, n)).is_global = True


@_directive(".local", ".hidden", ".file", ".ident", ".attribute")
def _ignored(unit: Unit, head: Token, operands: list[list[Token]]) -> None:
    """Means nothing for a program that is not linked any further."""


@_directive(".type")
def _type(unit: Unit, head: Token, operands: list[list[Token]]) -> None:
    _count(head, operands, 2, 2, "name, @function")
    unit.symbol(_name(operands, 0)).kind = operands[1][-1].text


@_directive(".size")
def _size(unit: Unit, head: Token, operands: list[list[Token]]) -> None:
    _count(head, operands, 2, 2, "name, expression")
    unit.symbol(_name(operands, 0)).size = _expr(unit, operands[1])


@_directive(".equ", ".set")
def _equ(unit: Unit, head: Token, operands: list[list[Token]]) -> None:
    _count(head, operands, 2, 2, "name, expression")
    unit.define_variable(_name(operands, 0), _expr(unit, operands[1]))


_OPTIONS = ("rvc", "norvc", "relax", "norelax", "push", "pop", "pic", "nopic")


@_directive(".option")
def _option(unit: Unit, head: Token, operands: list[list[Token]]) -> None:
    _count(head, operands, 1, 1, "rvc, norvc, push, pop …")
    token = _name(operands, 0)
    if token.text not in _OPTIONS:
        raise SyntaxFault(f"unknown option {token.text} (known: {' '.join(_OPTIONS)})", [token])
    if token.text == "push":
        unit.rvc_stack.append(unit.rvc)
    elif token.text == "pop":
        if not unit.rvc_stack:
            raise SyntaxFault(".option pop without .option push", [head, token])
        unit.rvc = unit.rvc_stack.pop()
    elif token.text.endswith("rvc"):
        unit.rvc = token.text == "rvc"


_WIDTHS = {
    ".byte": 1, ".half": 2, ".short": 2, ".2byte": 2, ".word": 4, ".long": 4, ".4byte": 4,
    ".dword": 8, ".quad": 8, ".8byte": 8,
}  # fmt: skip


@_directive(*_WIDTHS)
def _values(unit: Unit, head: Token, operands: list[list[Token]]) -> None:
    for tokens in operands:  # added one by one: `.` is the place of each
        unit.add(Value(_WIDTHS[head.text], _expr(unit, tokens), tokens))


@_directive(".ascii", ".asciz", ".string")
def _string(unit: Unit, head: Token, operands: list[list[Token]]) -> None:
    data = b""
    for tokens in operands:
        if any(token.kind != "str" for token in tokens):
            raise SyntaxFault('expected a string, as in "text\\n"', tokens)
        data += b"".join(unquote(token) for token in tokens)
        data += b"" if head.text == ".ascii" else b"\0"
    unit.add(Bytes(data, unit.tokens))


@_directive(".zero", ".space", ".skip")
def _space(unit: Unit, head: Token, operands: list[list[Token]]) -> None:
    _count(head, operands, 1, 2, "bytes, value")
    value = _expr(unit, operands[1]) if len(operands) > 1 else constant(0)
    unit.add(Fill(_expr(unit, operands[0]), 1, value, unit.tokens))


@_directive(".fill")
def _fill(unit: Unit, head: Token, operands: list[list[Token]]) -> None:
    _count(head, operands, 1, 3, "times, bytes, value")
    width = _number(unit, operands[1], 1, 8) if len(operands) > 1 else 1
    value = _expr(unit, operands[2]) if len(operands) > 2 else constant(0)
    unit.add(Fill(_expr(unit, operands[0]), width, value, unit.tokens))


@_directive(".align", ".p2align", ".balign")
def _align(unit: Unit, head: Token, operands: list[list[Token]]) -> None:
    if head.text == ".balign":
        _count(head, operands, 1, 3, "multiple, fill, most")
        multiple = _number(unit, operands[0], 1, 1 << 20)
        if multiple & (multiple - 1):
            raise SyntaxFault(f"{multiple} is not a power of two", operands[0])
    else:
        _count(head, operands, 1, 3, "power of two, fill, most")
        multiple = 1 << _number(unit, operands[0], 0, 20)
    fill = _expr(unit, operands[1]) if len(operands) > 1 and operands[1] else None
    limit = _number(unit, operands[2], 0, 1 << 20) if len(operands) > 2 else None
    unit.section.alignment = max(unit.section.alignment, multiple)
    unit.add(Align(multiple, fill, limit, unit.rvc, unit.tokens))


@_directive(".org")
def _org(unit: Unit, head: Token, operands: list[list[Token]]) -> None:
    _count(head, operands, 1, 2, "offset, fill")
    fill = _expr(unit, operands[1]) if len(operands) > 1 else None
    unit.add(Org(_expr(unit, operands[0]), fill, unit.tokens))


def assemble_directive(unit: Unit, head: Token, rest: list[Token]) -> None:
    """Do what a directive says."""
    function = DIRECTIVES.get(head.text)
    if function is None:
        what = f"unknown directive {head.text}" + suggestion(head.text, DIRECTIVES)
        raise SyntaxFault(what, [head])
    may_be_empty = function in (_align,)  # .balign 8,,2
    function(unit, head, split_operands(rest, may_be_empty))
