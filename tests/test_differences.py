"""What Unicorn does otherwise than tcglite: each difference of ``docs/differences.md``, met by a
small program, which agrees all the same."""

from __future__ import annotations

import pytest

pytest.importorskip("unicorn")

import test_crosscheck
from test_crosscheck import agree, check

from tcglite import Mechanisms
from tcglite.crosscheck import unicorn as unicorn_room
from tcglite.crosscheck import unicorn_differences
from tcglite.crosscheck.report import Report
from tcglite.target.asm import assemble

pytestmark = pytest.mark.usefixtures("backend")

FS_ON = "li t0, 1 << 13\n csrs mstatus, t0\n"
TW, MPRV = 1 << 21, 1 << 17


def in_user_mode(code: str, status: int = 0) -> str:
    """``status``: mstatus before the mret."""
    return f"la t0, 1f\n csrw mepc, t0\n li t0, {status}\n csrw mstatus, t0\n mret\n1: {code}"


PROGRAMS = [
    ("csr-answered", "csrr a0, misa"),
    ("csr-answered", "csrr a0, mip"),
    ("csr-answered", "csrwi pmpcfg0, 15"),
    ("csr-answered", "csrr a0, minstret"),
    ("csr-read-only", "li t6, 0\n csrrs a0, mhartid, t6"),
    ("csr-read-only", "li t6, 0\n csrrc a0, instret, t6"),
    ("device-refused", "li a0, 0x2000000\n lb a1, 8(a0)"),
    ("device-refused", "li a0, 0x2000000\n sd a1, 16(a0)"),
    ("fp-arithmetic", FS_ON + "fadd.s fa0, fa0, fa0"),
    ("fp-arithmetic", FS_ON + "fmadd.d fa0, fa0, fa0, fa0"),
    ("fp-while-off", "la a0, 2f\n .option rvc\n c.fsd fa0, 0(a0)\n j 3f\n .balign 8\n"
     "2: .dword 0\n3:"),
    ("fp-while-off", "fsgnj.d fa0, fa0, fa0"),
    ("mcounteren", in_user_mode("csrrsi a0, cycle, 0")),
    ("mcounteren", in_user_mode("csrrsi a0, instret, 0")),
    ("mprv", in_user_mode("nop", MPRV)),
    ("mstatus-tw", in_user_mode("wfi", TW)),
    ("nan-boxing", FS_ON + "fmv.w.x fa0, a0"),
    ("nan-boxing", FS_ON + "fmv.d.x fa0, a0\n fsgnj.s fa1, fa0, fa0"),
    ("reserved-compressed", ".2byte 0x9c41"),  # c.mul of Zcb
    ("s-mode", "sfence.vma"),
    ("s-mode", "csrr a0, medeleg"),
    ("sc-unreserved", "li a0, 0x18000000\n sc.w a2, a1, (a0)"),
    ("sc-unreserved", "li a0, 0x80001001\n sc.w a2, a1, (a0)"),
]  # fmt: skip
#: Met where whole blocks are compared, so not at grain "insn".
BLOCKS = [
    ("illegal-length", ".2byte 0"),
    ("op-buffer", "li sp, 0x80000000\n" + "ld a0, 0(sp)\n" * 500),
    ("page-end", "j 1f\n .balign 4096\n .skip 4086\n .option rvc\n1: nop\n" + "c.nop\n" * 6),
]


def run(code: str, grain: str) -> Report:
    program = test_crosscheck.program(code)
    return check(program, memory="64K", grain=grain, max_insns=900)[-1]


@pytest.mark.parametrize("grain", ["piece", "insn"])
@pytest.mark.parametrize(("name", "code"), PROGRAMS)
def test_each_difference_is_met_and_named(name: str, code: str, grain: str) -> None:
    assert agree([run(code, grain)]).notes[name]


@pytest.mark.parametrize(("name", "code"), BLOCKS)
def test_each_difference_of_blocks_is_met_and_named(name: str, code: str) -> None:
    assert agree([run(code, "block")]).notes[name]
    assert name not in agree([run(code, "insn")]).notes


def test_blocks_that_are_cut_are_not_compared() -> None:
    report = agree(check("hello", mechanisms=Mechanisms(max_block_insns=3)))
    assert report.notes["cut-block"]
    assert "blocks" not in report.counts


#: Names that are given by looking at the instruction, or at the end of the block.
BY_LOOKING = {
    "fp-arithmetic", "fp-while-off", "illegal-length", "mcounteren", "mstatus-tw", "op-buffer",
    "page-end", "reserved-compressed", "s-mode",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "code"), [row for row in [*PROGRAMS, *BLOCKS] if row[0] in BY_LOOKING]
)
def test_without_its_name_it_is_a_divergence(name: str, code: str, monkeypatch) -> None:
    """The difference is real: the name does not excuse what agrees anyway."""

    def nothing(*arguments: object) -> None:
        """In the place of what knows the names."""

    monkeypatch.setattr(unicorn_differences, "legal_there", nothing)
    monkeypatch.setattr(unicorn_room, "legal_there", nothing)
    monkeypatch.setattr(unicorn_room, "other_end", nothing)
    assert run(code, "block").divergence is not None


# Without a name: made equal on the way.

UNNAMED = {
    "a trap ends a reservation": "li a0, 0x80001000\n lr.w a1, (a0)\n ecall\n sc.w a2, a1, (a0)",
    "mret ends a reservation": "li a0, 0x80001000\n la t0, 1f\n csrw mepc, t0\n lr.w a1, (a0)\n"
    " li t0, 0x1800\n csrw mstatus, t0\n mret\n1: sc.w a2, a1, (a0)",
    "8 bytes of a device": "li a0, 0x2004000\n ld a1, 0(a0)\n sd a1, 0(a0)\n ld a2, 0(a0)",
    "bit 0 of mepc": "li a0, -1\n csrw mepc, a0\n csrr a1, mepc",
    "MPP of a mode that is not there": "li a0, 1 << 11\n csrw mstatus, a0\n csrr a1, mstatus",
    "pc after an exception of 2 bytes": ".option rvc\n c.ebreak\n c.nop\n .2byte 0x8002\n c.nop",
    "ecall in U mode": in_user_mode("ecall"),
    "a misaligned AMO": "li a0, 0x80001001\n amoadd.w a1, a1, (a0)",
    "an illegal instruction": ".4byte 0x0000400b",
}  # fmt: skip


@pytest.mark.parametrize("grain", ["piece", "insn"])
@pytest.mark.parametrize("what", UNNAMED)
def test_what_has_no_name_is_made_equal(what: str, grain: str) -> None:
    report = agree([run(UNNAMED[what], grain)])
    assert set(report.notes) <= {"cut-block", "reserved-compressed"}


# Nobody is wrong, or Unicorn is, and still it is reported as a divergence.

DIVERGENCES = [
    ("mtval", "li a0, 0x8000fffe\n sw a1, 0(a0)"),
    ("an exception", "li a0, 0x10000000\n jr a0"),
    ("an exception", "li a0, 0x8000fffe\n li a1, 3\n sh a1, 0(a0)\n jr a0"),
    ("the block at", "j 1f\n .balign 4096\n1: " + "divw a0, a1, a2\n" * 300),
]  # fmt: skip


@pytest.mark.parametrize(("what", "code"), DIVERGENCES)
def test_what_is_reported_although_tcglite_is_right(what: str, code: str) -> None:
    divergence = run(code, "piece").divergence
    assert divergence is not None
    assert divergence.what.startswith(what)


def test_a_device_over_ram_is_reported() -> None:
    """HTIF: words of RAM that are a device here, and RAM in Unicorn."""
    guest = assemble("""
_start: la a0, tohost
        li a1, 1
        sd a1, 0(a0)
1:      j 1b
        .balign 64
tohost: .dword 0
        .balign 64
fromhost: .dword 0
""")
    divergence = check(guest, memory="64K", max_insns=100)[-1].divergence
    assert divergence is not None
    assert divergence.what == "device access"
