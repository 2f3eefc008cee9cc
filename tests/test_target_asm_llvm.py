"""The assembler makes the bytes that LLVM's makes (the `ziglang` package, extra `guests`)."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from test_target_decode import ALL_ROWS, random_bits

from tcglite.target.asm import assemble
from tcglite.target.asm_directives import DIRECTIVES
from tcglite.target.asm_pseudo import PSEUDO
from tcglite.target.decode import decode
from tcglite.target.disas import disassemble, listing
from tcglite.target.insns_alias import ALIASES

pytest.importorskip("ziglang")

ROOT = Path(__file__).parent.parent
GUESTS = sorted((ROOT / "data" / "guests" / "src").glob("*.S"))

LINKER_SCRIPT = """
SECTIONS {
  . = 0x80000000;
  .text : { *(.text.init) *(.text .text.*) }
  .rodata : { *(.rodata .rodata.*) }
  .data : { *(.data .data.*) }
  .bss : { *(.bss .bss.*) }
}
"""


def llvm(source: str, tmp_path: Path) -> ELFFile:
    """The source, assembled and linked by LLVM at 0x80000000."""
    (tmp_path / "x.S").write_text(source)
    (tmp_path / "x.ld").write_text(LINKER_SCRIPT)
    cache = ROOT / ".cache" / "zig"
    environment = os.environ | {
        "ZIG_GLOBAL_CACHE_DIR": str(cache),
        "ZIG_LOCAL_CACHE_DIR": str(cache),
    }
    command = [
        sys.executable, "-m", "ziglang", "cc", "-target", "riscv64-freestanding-none",
        "-mcpu=generic_rv64+m+a+f+d+c", "-nostdlib", "-T", "x.ld", "-o", "x.elf", "x.S",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return ELFFile(io.BytesIO((tmp_path / "x.elf").read_bytes()))


def loaded(elf: ELFFile, address: int, size: int) -> bytes:
    """Memory after loading; what is not loaded is zero."""
    memory = bytearray(size)
    for segment in elf.iter_segments("PT_LOAD"):
        offset, data = segment["p_vaddr"] - address, segment.data()
        data = data[max(-offset, 0) : max(size - offset, 0)]
        memory[max(offset, 0) : max(offset, 0) + len(data)] = data
    return bytes(memory)


def difference(source: str, tmp_path: Path) -> str:
    """Where our bytes, addresses or symbols differ from LLVM's; empty if nowhere."""
    ours, theirs = assemble(source), llvm(source, tmp_path)
    end = max(
        segment["p_vaddr"] + segment["p_memsz"] for segment in theirs.iter_segments("PT_LOAD")
    )
    our_end = ours.sections[-1].address + ours.sections[-1].size
    for section in ours.sections:
        data = loaded(theirs, section.address, section.size)
        if data != (section.data or bytes(section.size)):
            pairs = zip(
                listing(section.data, section.address),
                listing(data, section.address),
                strict=False,
            )
            for mine, other in pairs:
                if mine != other:
                    line = ours.lines.get(mine[0], 0)
                    text = source.splitlines()[line - 1]
                    return f"{mine[0]:#x}: {mine[3]}, LLVM {other[3]}  (line {line}: {text})"
    if end != our_end:
        return f"the end is {our_end:#x}, LLVM {end:#x}"
    table = theirs.get_section_by_name(".symtab")
    values = {symbol.name: symbol["st_value"] for symbol in table.iter_symbols()}
    for name, value in ours.symbols.items():
        # LLVM leaves constants (.equ) that no relocation needs in the table as well.
        if values.get(name, value) != value:
            return f"{name} is {value:#x}, LLVM {values[name]:#x}"
    return ""


@pytest.mark.parametrize("path", GUESTS, ids=lambda path: path.stem)
def test_guests(path, tmp_path):
    assert difference(path.read_text(), tmp_path) == ""


@pytest.mark.parametrize("option", ["rvc", "norvc"])
def test_every_row_with_random_operands(option, tmp_path):
    """Includes what is compressed, and which of several forms is taken."""
    rng = random.Random(option)
    lines = [f".option {option}"]
    for row in ALL_ROWS:
        if row.length == 2 and option == "norvc":
            continue
        for _ in range(40):
            bits = random_bits(row, rng)
            if row.length == 4 and rng.random() < 0.3:  # rs1 = rd: most compressed forms want it
                same = bits & ~(31 << 15) | (bits >> 7 & 31) << 15
                if (insn := decode(same)) and insn.row is row:
                    bits = same
            lines.append(disassemble(bits, relative=True))
    # LLVM knows pause as part of an extension only.
    source = "\n".join(line for line in lines if line != "pause")
    assert difference(source + "\n", tmp_path) == ""


def test_constants(tmp_path):
    """li: LLVM's choice among the many sequences for 64 bits."""
    rng = random.Random(4)
    values = [0, 0x7FFFF800, 0x7FFFF7FF, 0xFFFFFFFF]
    values += [sign * (1 << n) + d for n in range(64) for d in (-1, 0, 1) for sign in (1, -1)]
    for _ in range(1000):
        values.append(rng.getrandbits(64))
        values.append(rng.getrandbits(32))
        values.append(rng.getrandbits(rng.randrange(1, 24)) << rng.randrange(40))
        values.append(~(rng.getrandbits(rng.randrange(1, 24)) << rng.randrange(40)))
        values.append((rng.getrandbits(20) << rng.randrange(44)) + rng.randrange(-4096, 4096))
    lines = [f"li {rng.choice(['a0', 's6'])}, {value % (1 << 64)}" for value in values]
    lines += [f"li a0, {value}" for value in values if -(1 << 63) <= value < 0]
    assert difference("\n".join(lines) + "\n", tmp_path) == ""


BROAD = r"""
# Every pseudo-instruction, alias and directive. /* not a comment */ // nor this
        .option norelax
        .file "broad.S"
        .equ    UART, 0x10000000
        .set    SIZE, 4 * (3 + 1)       /* a comment
                                           over two lines */
COUNT = SIZE / 2
        .section .text.init, "ax", @progbits
        .globl  _start
        .type   _start, @function
_start: la      sp, stack_top; li t0, UART      # two on a line
        lla     a0, text
        la      a1, text + 5
        la      a2, UART
        call    global_function
        call    t0, function
        tail    function
        jump    function, t3
        j       main
        .size   _start, . - _start

        .text
        .local  main
main:   nop
        mv a0, a1; not a2, a3; neg a4, a5; negw s0, s1; sext.w s2, s3
        sext.b a0, a1; sext.h a0, a1; zext.b a0, a1; zext.h a0, a1; zext.w a0, a1
        seqz a0, a1; snez a0, a1; sltz a0, a1; sgtz a0, a1
        sgt a0, a1, a2; sgtu a0, a1, a2
        add a0, a1, 5; slt a0, a1, 5; sltu a0, a1, 5; xor a0, a1, 5; or a0, a1, 5; and a0, a1, 5
        sll a0, a1, 5; srl a0, a1, 5; sra a0, a1, 5; addw a0, a1, 5
        sllw a0, a1, 5; srlw a0, a1, 5; sraw a0, a1, 5
1:      beqz a0, 1b; bnez a0, 1b; blez a0, 1b; bgez a0, 1b; bltz a0, 1b; bgtz a0, 1b
        bgt a0, a1, 1f; ble a0, a1, 1f; bgtu a0, a1, 1f; bleu a0, a1, 1f
1:      j 1b; jal 1b; jal t0, 1b; jr a0; jr 4(a0); jr a0, 4; jalr a0; jalr 4(a0); jalr a0, 4
        jalr a0, a1; jalr a0, a1, 4; jalr a0, 4(a1); ret
        beq x0, a0, . ; bne x0, a0, 1b; j .; j . + 4; beqz a0, . + 8; beqz a0, 8; j -4
        fence; fence rw, w; fence 0, r; fence.tso; fence.i; unimp; ecall; ebreak; scall; sbreak
        rdcycle a0; rdtime a0; rdinstret a0
        frcsr a0; frrm a0; frflags a0; fscsr a0; fscsr a0, a1; fsrm a0; fsrm a0, a1
        fsflags a0; fsflags a0, a1; fsrmi 1; fsrmi a0, 1; fsflagsi 1; fsflagsi a0, 1
        csrr a0, mstatus; csrw mtvec, a0; csrs mie, a0; csrc mip, a0
        csrwi mstatus, 8; csrsi mstatus, 8; csrci mstatus, 8
        csrw mstatus, 8; csrs mstatus, 8; csrc mstatus, 8
        csrrw a0, mepc, 1; csrrs a0, mepc, 1; csrrc a0, 0x341, 1; csrrw a0, 0x7c0, a1
        mret; sret; wfi; sfence.vma; sfence.vma a0; sfence.vma a0, a1
        fmv.s fa0, fa1; fabs.s fa0, fa1; fneg.s fa0, fa1
        fmv.d fa0, fa1; fabs.d fa0, fa1; fneg.d fa0, fa1
        fgt.s a0, fa0, fa1; fge.s a0, fa0, fa1; fgt.d a0, fa0, fa1; fge.d a0, fa0, fa1
        fmv.x.s a0, fa0; fmv.s.x fa0, a0
        fadd.s fa0, fa1, fa2; fadd.d fa0, fa1, fa2, rtz; fcvt.d.w fa0, a0; fcvt.w.d a0, fa0, rtz
        lr.w.aq a0, (a1); sc.w.rl a0, a2, (a1); amoadd.d.aqrl a0, a2, (a1); amoswap.w a0, a1, 0(a2)
        lb a0, text; lh a0, text; lw a0, text; ld a0, text; lbu a0, text; lhu a0, text; lwu a0, text
        sb a0, data, t0; sh a0, data, t0; sw a0, data, t0; sd a0, data, t0
        flw fa0, data, t0; fld fa0, data, t0; fsw fa0, data, t0; fsd fa0, data, t0
        lw a0, (a1); lw a0, SIZE(sp); lw a0, -4(a1); sd ra, COUNT * 8(sp); lw x8, 0x4(fp)
        lui a0, %hi(UART); addi a0, a0, %lo(UART); lw a1, %lo(UART)(a0); sw a1, %lo(UART + 4)(a0)
        li a0, %lo(UART)
2:      auipc a0, %pcrel_hi(data); ld a1, %pcrel_lo(2b)(a0); sd a1, %pcrel_lo(2b)(a0)
        li a0, text_end - text; li a0, 'A'; li a1, '\n'; li a2, '\''
        c.nop; c.nop 3; c.addi a0, 1; c.addi4spn a0, sp, 16; c.addi16sp sp, -64; c.j 1b
        c.beqz a0, 3f
        c.lui a0, 0xfffff; c.ebreak; c.lwsp a0, 4(sp); c.swsp a0, 4(sp); c.fldsp fa0, 8(sp)
3:      addi sp, sp, -16; addi sp, sp, -64; addi a0, sp, 16; addi a0, a0, 0; add a0, a1, a0
        .option push
        .option norvc
        .option norvc; nop; j 3b; beqz a0, 3b; addi sp, sp, -16
        .balign 8
        nop; c_free: lw a0, 0(a0)
        .option pop
        nop; .balign 8; nop; .p2align 4, , 6; nop; .balign 16, 0xff; nop
        .byte 1; .align 2

# Branches that do not reach: compressed, plain, opposite over a jump.
        beqz a0, far; bnez s11, far; beq zero, a5, far; blt a0, a1, far; j far; c.j far
        beqz a0, near; beq a0, a1, near; j near
        beqz a0, other; bne a0, a1, other; j other; jal other; beqz a0, global_function; j _start
        .skip 300
near:   .space 6000
far:    bgeu a0, a1, main; beqz a0, near; nop
        .balign 64
loop:   j loop; beqz a0, far; c.bnez a0, far
        .section .text.other, "ax"
        .weak weak_function
        .hidden global_function
other:  j loop; nop
weak_function:
        j weak_function
        .org 64
        nop
        .globl global_function
global_function: function: ret

        .section .rodata
        .align 3
text:   .ascii "tab\t quote\" back\\ octal\101 hex\x42 nl\n", "second"
text_end:
digits: .ascii "012"
        .equ digits_length, . - digits  # LLVM refuses li of such a one above 31
        .asciz "zero", "é"
        .string "too", "#//;"
        .balign 4
        .word text, main - _start, . - text, text_end - text, -1, 0xffffffff
        .dword _start, far - near, -2, 0xffffffffffffffff; .quad 1; .8byte 2
        .byte 'a', -128, 255, ~0 & 0xff, 'b' + 1; .half 0xffff, -1; .short 2; .2byte 3
        .long 1 << 31, 2 + 3 | 4, 7 & 3 + 1, 1 + 2 << 3, (1 + 2) * 3, -7 / 2, -7 % 3, !0, !5, - -3
        .4byte 10 - 4 - 3, 0b101, 017, 6 ^ 3, -1 >> 60
        .data
        .fill 3, 2, 0x1234; .fill 2; .fill 2, 4
        .zero 5; .zero 2, 7; .skip 3; .space 4 * COUNT, 0xee
        .balign 8
        .set COUNT, 99
        .dword COUNT
data:   .dword data, stack_top
        .section .text.last, "ax"
        li a0, digits_length
        .section .data.more, "aw"
        .p2align 3
        .dword 5
        .bss
        .align 4
stack:  .space 4096
stack_top:
        .skip 8
"""


def test_every_pseudo_instruction_and_directive(tmp_path):
    assert difference(BROAD, tmp_path) == ""
    words = set(BROAD.replace(";", " ").replace(":", " ").split())
    not_in_llvm = {"pause"}  # it wants an extension for it
    ignored = {".global", ".ident", ".attribute", ".rodata"}  # no bytes, or a synonym
    assert {alias.name for alias in ALIASES} - words <= not_in_llvm
    assert set(PSEUDO) - words == set()
    assert set(DIRECTIVES) - words <= ignored


@pytest.mark.parametrize("seed", range(4))
def test_relaxation_at_the_edges_of_every_form(seed, tmp_path):
    """Random branches between blocks whose sizes put them just in and just out of reach."""
    rng = random.Random(seed)
    lines = []
    for n in range(60):
        lines.append(f"l{n}:")
        for _ in range(rng.randrange(5)):
            target = f"l{min(max(n + rng.randrange(-6, 7), 0), 59)}"
            branch = rng.choice(["beqz a0,", "bnez s11,", "blt a0, a1,", "bne x0, a5,", "j"])
            lines.append(f"  {branch} {target}")
        lines.append(f"  .skip {rng.choice([0, 2, 40, 246, 250, 2036, 4086])}")
        if rng.random() < 0.1:
            lines.append(".balign 16")
    assert difference("\n".join(lines) + "\n", tmp_path) == ""


def test_the_comparison_notices_a_difference(tmp_path, monkeypatch):
    monkeypatch.setattr("tcglite.target.asm_unit.compress", lambda row, fields: None)
    assert difference("nop\nnop\n", tmp_path).startswith("0x80000000: nop, LLVM c.nop")
