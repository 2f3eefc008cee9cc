"""The assembler: round trip over every row, the ELF file, and what it says about mistakes.

That its bytes are LLVM's is tested in test_target_asm_llvm.
"""

from __future__ import annotations

import contextlib
import io
import random

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st
from test_target_decode import ALL_ROWS, random_bits

from tcglite.errors import TcgliteError
from tcglite.target.asm import AsmError, assemble
from tcglite.target.asm_directives import DIRECTIVES
from tcglite.target.asm_operands import FORMS
from tcglite.target.asm_pseudo import PSEUDO, constant_steps
from tcglite.target.disas import disassemble


def code(source: str) -> bytes:
    return assemble(source).segments[0][1]


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: row.name)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_round_trip(row, seed):
    """assemble(disassemble(bits)) == bits, without compression of 4-byte instructions."""
    bits = random_bits(row, random.Random(seed))
    option = ".option norvc\n" if row.length == 4 else ""
    text = disassemble(bits, relative=True)
    assert code(option + text) == bits.to_bytes(row.length, "little"), text


def test_hints_round_trip():
    for bits in (0x0015, 0x4015, 0x000E, 0x6011, 0x802A, 0x902A, 0x0501, 0x0502, 0x8101):
        assert code(disassemble(bits, relative=True)) == bits.to_bytes(2, "little")


@given(st.integers(-(1 << 63), (1 << 64) - 1))
def test_constant_steps_make_the_constant(value):
    """Executed by hand: what the sequence of li leaves in the register."""
    register = 0
    for name, imm in constant_steps(value):
        match name:
            case "lui":
                register = (imm << 12 ^ 1 << 31) - (1 << 31)
            case "addi":
                register += imm
            case "addiw":
                register = (register + imm & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)
            case "slli":
                register <<= imm
            case "srli":
                register = register % (1 << 64) >> imm
            case "xori":
                register ^= imm
        register %= 1 << 64
    assert register == value % (1 << 64)
    assert len(constant_steps(value)) <= 8


SOURCE = """
        .equ    UART, 0x10000000
        .globl  _start
        .section .text.init, "ax"
        .type _start, @function
_start: li      a0, UART        # line 6
        la      a1, text
        j       main
        .size   _start, . - _start
        .text
main:   lbu     a2, 0(a1)
.Linner: beqz   a2, 1f
        sb      a2, 0(a0)
        j       main
1:      wfi
        .rodata
text:   .asciz  "hello"
        .data
        .align  3
counter: .dword 5
        .bss
        .align  4
stack:  .space  64
"""


def test_assembly_says_where_everything_is():
    made = assemble(SOURCE)
    start, main = made.symbols["_start"], made.symbols["main"]
    assert made.entry == start == 0x8000_0000
    assert main == 0x8000_0010
    assert made.symbols["UART"] == 0x1000_0000
    assert [(s.name, s.address, s.size) for s in made.sections] == [
        (".text.init", 0x8000_0000, 16),
        (".text", 0x8000_0010, 16),
        (".rodata", 0x8000_0020, 6),
        (".data", 0x8000_0028, 8),
        (".bss", 0x8000_0030, 64),
    ]
    assert [address for address, _ in made.segments] == [
        0x8000_0000, 0x8000_0010, 0x8000_0020, 0x8000_0028,
    ]  # fmt: skip
    assert {made.lines[start], made.lines[main], made.lines[0x8000_0028]} == {6, 11, 20}
    assert "1" not in made.symbols
    assert assemble(SOURCE, origin=0x8020_0000).entry == 0x8020_0000


def test_elf_file():
    made = assemble(SOURCE)
    elf = ELFFile(io.BytesIO(made.to_elf()))
    assert (elf["e_machine"], elf["e_type"], elf.elfclass) == ("EM_RISCV", "ET_EXEC", 64)
    assert elf["e_entry"] == made.entry
    assert elf["e_flags"] == 1  # RVC, soft-float ABI
    segments = [
        (s["p_vaddr"], s["p_filesz"], s["p_memsz"], s["p_flags"])
        for s in elf.iter_segments("PT_LOAD")
    ]
    assert segments == [
        (0x8000_0000, 32, 32, 5),
        (0x8000_0020, 6, 6, 4),
        (0x8000_0028, 8, 72, 6),
    ]
    for section in made.sections:
        found = elf.get_section_by_name(section.name)
        assert (found["sh_addr"], found["sh_size"]) == (section.address, section.size)
        assert found["sh_type"] == ("SHT_PROGBITS" if section.data else "SHT_NOBITS")
        if section.data:
            assert found.data() == section.data
    table = elf.get_section_by_name(".symtab")
    symbols = {symbol.name: symbol for symbol in table.iter_symbols()}
    assert {name: symbol["st_value"] for name, symbol in symbols.items() if name} == made.symbols
    assert ".Linner" not in symbols
    start = symbols["_start"]
    assert (start["st_info"]["bind"], start["st_info"]["type"]) == ("STB_GLOBAL", "STT_FUNC")
    assert start["st_size"] == 16
    assert symbols["UART"]["st_shndx"] == "SHN_ABS"
    first_global = next(n for n, s in enumerate(table.iter_symbols()) if s.name == "_start")
    assert table["sh_info"] == first_global  # local symbols come first


def test_elf_file_is_read_by_other_tools_when_empty():
    elf = ELFFile(io.BytesIO(assemble("# nothing\n").to_elf()))
    assert elf.num_segments() == 0
    assert elf["e_entry"] == 0x8000_0000


def test_symbols_from_outside():
    made = assemble("li a0, N + 1\n.dword N", symbols={"N": 41})
    assert made.segments[0][1][:4] == code("li a0, 42")[:4]


def test_variables_keep_their_value_at_the_place_of_use():
    assert code(".set n, 1\n.byte n\n.set n, n + 1\n.byte n\nn = 9\n.byte n") == b"\x01\x02\x09"


def test_numeric_labels():
    source = "1: j 1f\n1: j 1b\n j 1b\n2: 1: j 2b"
    assert code(source) == code("a: j b\nb: j b\n j b\nc: j c")
    assert assemble(source).symbols == {}


def test_dot_is_the_place_of_each_value():
    assert code(".word . - 0x80000000, . - 0x80000000") == bytes([0, 0, 0, 0, 4, 0, 0, 0])


def test_compression_can_be_turned_off_and_on():
    source = "nop\n.option push\n.option norvc\nnop\n.option pop\nnop"
    assert code(source).hex() == "0100" + "13000000" + "0100"
    assert code("unimp").hex() == "0000"
    assert code(".option norvc\nunimp").hex() == "731000c0"


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (252, ["c.beqz  a0, 254"]),
        (254, ["beqz    a0, 258"]),
        (4090, ["beqz    a0, 4094"]),
        (4092, ["c.bnez  a0, 6", "j       4096"]),
    ],
)
def test_a_branch_takes_the_smallest_form_that_reaches(gap, expected):
    made = code(f"beqz a0, there\n.skip {gap}\nthere: nop")
    texts, at = [], 0
    while at < len(made) - gap - 2:
        length = 4 if made[at] & 3 == 3 else 2
        bits = int.from_bytes(made[at : at + length], "little")
        texts.append(disassemble(bits, relative=True))
        at += length
    assert texts == expected


MISTAKES = [
    ("adi a0, a0, 1", "unknown instruction adi (did you mean addi?)", "adi"),
    ("ADD a0, a0, a0", "unknown instruction ADD (did you mean add?)", "ADD"),
    ("add.aq a0, a0, a0", "unknown instruction add.aq", "add.aq"),
    ("add a0, a1", "add takes rd, rs1, rs2 or rd, rs1, imm", "add a0, a1"),
    ("ret a0", "ret takes no operands", "ret a0"),
    ("la a0", "la takes rd, symbol", "la a0"),
    ("addi a0, a1, 5000", "addi: 5000 is out of range (-2048 to 2047)", "5000"),
    ("addi a0, a1, -2049", "addi: -2049 is out of range (-2048 to 2047)", "-2049"),
    ("addi a0, a1, a2", "expected a number; for the address of a symbol use la", "a2"),
    ("addi a0,, 1", "an operand is missing next to this", "a0"),
    ("lw a0, 5000(a1)", "lw: 5000 is out of range", "5000"),
    ("lw a0, 8", "expected offset(register), as in 8(sp), or a symbol", "8"),
    ("sd a0, foo", "expected offset(register)", "foo"),
    ("lw a0, (a1", "this parenthesis is not closed", "("),
    ("lw x32, 0(a0)", "expected an integer register (x0 to x31, ra, sp, a0 …), got x32", "x32"),
    ("fadd.s a0, fa0, fa1", "expected a floating-point register", "a0"),
    ("fadd.s fa0, fa0, fa1, foo", "expected a rounding mode: rne rtz rdn rup rmm dyn", "foo"),
    ("j nowhere", "undefined symbol nowhere", "nowhere"),
    ("j 1b", "there is no label 1: above this line", "1b"),
    ("1: j 2f", "undefined symbol 2f", "2f"),
    ("beqz a0, 0x80000010", "a number here is a distance in bytes", "0x80000010"),
    ("beqz a0, 3", "beqz: 3 is not a multiple of 2", "3"),
    ("jal far\n.skip 1 << 20\nfar:", "jal: 1048580 is out of range", "far"),
    ("li a0, foo", "li needs a number that is known here", "foo"),
    ("x: lui a0, %hi(x)", "%hi reaches -0x80000800 to 0x7ffff7ff, not 0x80000000: use la", "x"),
    ("lui a0, %lo(x)", "lui cannot take %lo", "%lo(x)"),
    ("addi a0, a0, %hi(x)", "addi cannot take %hi here", "%hi(x)"),
    ("addi a0, a0, %foo(x)", "unknown operator %foo", "%foo"),
    ("x: addi a0, a0, %pcrel_lo(x)", "%pcrel_lo needs the label of an auipc", "x"),
    ("lui a0, 0x100000", "lui: 1048576 is out of range (0 to 0xfffff)", "0x100000"),
    ("c.lui a0, 40", "c.lui: 40 is out of range (1 to 31 or 0xfffe0 to 0xfffff)", "40"),
    ("c.lw a0, 4(t0)", "c.lw reaches only x8 to x15", "t0"),
    ("c.addi16sp a0, 16", "c.addi16sp works on sp only", "a0"),
    ("c.addi4spn a0, sp, 0", "c.addi4spn: this encoding is reserved", "c.addi4spn a0, sp, 0"),
    (".option norvc\nc.nop", "c.nop is a compressed instruction, but .option norvc", "c.nop"),
    ("csrr a0, mstat", "unknown CSR mstat (did you mean mstatus?)", "mstat"),
    ("csrr a0, 5000", "expected a CSR's name or number (0 to 4095), got 5000", "5000"),
    ("csrwi mstatus, 32", "expected a small number (0 to 31), got 32", "32"),
    ("slliw a0, a0, 32", "slliw: 32 is out of range (0 to 31)", "32"),
    ("fence wr, r", "expected letters out of iorw, in that order, or 0", "wr"),
    ("lr.w a0, 4(a1)", "lr.w takes no offset", "4"),
    (".wrd 5", "unknown directive .wrd (did you mean .word?)", ".wrd"),
    (".byte 300", "300 does not fit in a byte", "300"),
    (".half 1, 70000", "70000 does not fit in 2 bytes", "70000"),
    (".ascii hello", "expected a string", "hello"),
    ('.ascii "hello', "this string is not closed on its line", '"'),
    ('.ascii "\\q"', "unknown escape \\q", '"\\q"'),
    ("nop\n/* never", "this comment is never closed", "/*"),
    ("addi a0, a0, 'ab'", "expected one character between single quotes", "'"),
    ("addi a0, a0, 09", "'09' is not a number that belongs here", "09"),
    (f".dword {'9' * 5000}", "this number does not fit in 64 bits", None),
    (".word " + "(" * 5000, "this expression is too long", None),
    (".word " + "+1" * 5000, "this expression is too long", None),
    (".word é", "'é' is not a character that belongs here", "é"),
    (".word 1/0", "division by zero", None),
    (".word 1 2", "unexpected '2' behind the expression", "2"),
    (".word 1 +", "an expression is missing here", "+"),
    ("x: nop\nx:", "x is already defined on line 1", "x"),
    ("x: nop\n.equ x, 1", "x is already a label", "x"),
    (".equ x, x + 1", "x is defined in terms of itself", "x"),
    (".option foo", "unknown option foo", "foo"),
    (".option pop", ".option pop without .option push", ".option pop"),
    (".align 40", "expected a number from 0 to 20, got 40", "40"),
    (".balign 3", "3 is not a power of two", "3"),
    (".org 8\n.org 4", ".org cannot go back (4 bytes here)", ".org 4"),
    (".bss\n.word 5", ".bss can only hold zeros", "5"),
    (".zero -1", "the number of times is negative: -1", ".zero -1"),
    (".data\n.space 1 << 40", "1099511627776 bytes are more than 256 MiB", ".space 1 << 40"),
    ("a: .space b - a + 1\nb:", "sizes and addresses depend on each other", None),
    (".equ a", ".equ is written .equ name, expression", ".equ"),
    ("5", "expected an instruction, got 5", "5"),
]


@pytest.mark.parametrize(("source", "message", "words"), MISTAKES)
def test_mistakes_are_explained(source, message, words):
    with pytest.raises(AsmError) as caught:
        assemble("# a comment\n" + source)
    error = caught.value
    assert isinstance(error, TcgliteError)
    message = message.replace("on line 1", "on line 2")
    assert message in error.message
    assert "\n" not in error.message
    if words:
        first, line, caret = str(error).split("\n")
        assert first == f"line {error.line}: {error.message}"
        assert line == ("# a comment\n" + source).split("\n")[error.line - 1]
        start = caret.index("^")
        assert line[start : start + caret.count("^")] == words
        assert start == error.column


def test_the_caret_stands_right_behind_tabs():
    with pytest.raises(AsmError) as caught:
        assemble("\tadd\ta0, a1, foo")
    assert str(caught.value).endswith("\n\tadd\ta0, a1, foo\n\t   \t        ^^^")


WORDS = [
    *sorted(FORMS), *sorted(PSEUDO), *sorted(DIRECTIVES), "a0", "sp", "fa0", "x", "x:", "1:", "1b",
    "1f", "0", "1", "-1", "0x7ff", "4096", "mstatus", "%hi(x)", "%pcrel_lo(1b)", "(a0)", "8(sp)",
    ",", ",", ",", "(", ")", "+", "-", "/", "%", "<<", "=", '"s"', '"', "'", "#", "/*", ".", "\n",
    "\n", "\n", "\r\n", "\u2028", "\0", "@", "rvc", "push", '"ax"', "rne", "iorw",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=40))
def test_any_words_are_assembled_or_explained(words):
    with contextlib.suppress(AsmError):
        assemble(" ".join(words)).to_elf()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_assembled_or_explained(text):
    with contextlib.suppress(AsmError):
        assemble(text).to_elf()
