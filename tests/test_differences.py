"""What Unicorn does otherwise than tcglite: each difference of ``docs/differences.md``, met by a
small program, which agrees all the same."""

from __future__ import annotations

import pytest

pytest.importorskip("unicorn")

import test_crosscheck
import unicorn
from test_crosscheck import agree, check

from tcglite import Mechanisms
from tcglite.crosscheck import unicorn as unicorn_room
from tcglite.crosscheck import unicorn_differences
from tcglite.crosscheck.report import Report
from tcglite.target.asm import assemble
from tcglite.target.decode import decode

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
    ("csr-missing", "csrr a0, 0xc03"),
    ("csr-missing", "csrr a0, 0x321"),
    ("csr-missing", "csrw 0x3a1, a0"),
    ("csr-missing", in_user_mode("csrr a0, 0xc1f")),
    ("csr-read-only", "li t6, 0\n csrrs a0, mhartid, t6"),
    ("csr-read-only", "li t6, 0\n csrrc a0, instret, t6"),
    ("device-fetch", "li a0, 0x10000000\n jr a0"),
    ("device-fetch", "li a0, 0x2004000\n li a1, 0x00008067\n sd a1, 0(a0)\n jalr a0\n li a1, 5"),
    ("device-lr", "li a0, 0x200bff8\n lr.d a1, (a0)\n nop\n sc.d a2, a1, (a0)"),
    ("device-lr", "li a0, 0x2004000\n lr.w a1, (a0)\n li a3, 2\n sw a3, 0(a0)\n"
     " sc.w a2, a1, (a0)"),
    ("device-refused", "li a0, 0x2000000\n lb a1, 8(a0)"),
    ("device-refused", "li a0, 0x200bff8\n ld a5, 1(a0)"),
    ("device-refused", "li a0, 0x2000000\n sd a1, 16(a0)"),
    ("fp-arithmetic", FS_ON + "fadd.s fa0, fa0, fa0"),
    ("fp-arithmetic", FS_ON + "fmadd.d fa0, fa0, fa0, fa0"),
    ("fp-while-off", "la a0, 2f\n .option rvc\n c.fsd fa0, 0(a0)\n j 3f\n .balign 8\n"
     "2: .dword 0\n3:"),
    ("fp-while-off", "fsgnj.d fa0, fa0, fa0"),
    ("mcounteren", in_user_mode("csrrsi a0, cycle, 0")),
    ("mcounteren", in_user_mode("csrrsi a0, instret, 0")),
    ("mcounteren", in_user_mode("li t6, 0\n csrrs a0, cycle, t6")),
    ("mprv", in_user_mode("nop", MPRV)),
    ("mstatus-tw", in_user_mode("wfi", TW)),
    ("nan-boxing", FS_ON + "fmv.w.x fa0, a0"),
    ("nan-boxing", FS_ON + "fmv.d.x fa0, a0\n fsgnj.s fa1, fa0, fa0"),
    ("reserved-compressed", ".2byte 0x9c41"),  # c.mul of Zcb
    ("reserved-compressed", ".2byte 0x8000"),  # c.lbu of Zcb
    ("s-mode", "sfence.vma"),
    ("s-mode", "csrr a0, medeleg"),
    ("s-mode", "csrw mideleg, a0"),
    ("sc-unreserved", "li a0, 0x18000000\n sc.w a2, a1, (a0)"),
    ("sc-unreserved", "li a0, 0x80001001\n sc.w a2, a1, (a0)"),
    ("store-over-end", "li a0, 0x8000fffe\n sw a1, 0(a0)"),
    ("store-over-end", "li a0, 0x8000ffff\n sd a1, 0(a0)"),
]  # fmt: skip
#: Met where whole blocks are compared, so not at grain "insn".
BLOCKS = [
    ("illegal-length", ".2byte 0"),
    ("op-buffer", "li sp, 0x80000000\n" + "ld a0, 0(sp)\n" * 500),
    ("op-buffer", "j 1f\n .balign 4096\n1: " + "divw a0, a1, a2\n" * 300),
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
    "csr-missing", "csr-read-only", "fp-arithmetic", "fp-while-off", "illegal-length",
    "mcounteren", "mstatus-tw", "op-buffer", "page-end", "reserved-compressed", "s-mode",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "code"), [row for row in [*PROGRAMS, *BLOCKS] if row[0] in BY_LOOKING]
)
def test_without_its_name_it_is_a_divergence(name: str, code: str, monkeypatch) -> None:
    """The difference is real: the name does not excuse what agrees anyway."""

    def nothing(*arguments: object) -> None:
        """In the place of what knows the names."""

    monkeypatch.setattr(unicorn_differences, "legal_there", nothing)
    monkeypatch.setattr(unicorn_room, "executed_there", nothing)
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
    "half an instruction at the end of RAM": "li a0, 0x8000fffe\n li a1, 3\n sh a1, 0(a0)\n jr a0",
}  # fmt: skip


@pytest.mark.parametrize("grain", ["piece", "insn"])
@pytest.mark.parametrize("what", UNNAMED)
def test_what_has_no_name_is_made_equal(what: str, grain: str) -> None:
    report = agree([run(UNNAMED[what], grain)])
    assert set(report.notes) <= {"cut-block", "illegal-length"}


#: Illegal in both, however near to a difference.
REFUSED = [
    "sret", "fadd.s fa0, fa0, fa0", "fsgnjn.d fa0, fa0, fa0", "fsgnj.s fa0, fa0, fa0", ".2byte 0",
    ".2byte 0x2001", ".2byte 0x8002", "csrw mhartid, a0", "li t6, 1\n csrrs a0, mhartid, t6",
    "csrrsi a0, instret, 1", "csrw cycle, zero", "csrr a0, 0x123", "csrr a0, satp",
    "csrw 0xc03, a0", "li t6, 0\n csrrs a0, 0xfff, t6", in_user_mode("sfence.vma"),
    in_user_mode("csrr a0, time"), in_user_mode("csrr a0, mhartid"), in_user_mode("mret"),
    in_user_mode("csrr a0, medeleg"), in_user_mode("csrwi cycle, 0"),
]  # fmt: skip


@pytest.mark.parametrize("code", REFUSED)
def test_what_is_illegal_in_both_is_asked(code: str) -> None:
    report = agree([run(code, "insn")])
    assert report.counts["exceptions"]
    assert set(report.notes) == {"cut-block"}


def test_reserved_compressed_are_what_unicorn_executes() -> None:
    """All half-words that are illegal here, tried in Unicorn itself."""
    base, stopped = 0x8000_0000, []
    uc = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
    uc.mem_map(base, 1 << 20)

    def stop(uc: unicorn.Uc, number: int, user: object) -> None:
        stopped.append(number)
        uc.emu_stop()

    uc.hook_add(unicorn.UC_HOOK_INTR, stop)
    reserved = [bits for bits in range(1 << 16) if bits & 3 != 3 and decode(bits) is None]
    for n, bits in enumerate(reserved):
        uc.mem_write(base + 4 * n, bits.to_bytes(2, "little") + b"\x01\x00")  # and c.nop
    executed = set()
    for n, bits in enumerate(reserved):
        stopped.clear()
        uc.emu_start(base + 4 * n, 1, 0, 1)
        executed |= set() if stopped else {bits}
    named = {bits for bits in reserved if unicorn_differences.legal_there(None, bits, 0)}
    assert executed == named
    assert len(named) == 2176


@pytest.mark.parametrize(
    ("ours", "theirs", "explained"),
    [
        (0x7FC0_0000, 0x1234_5678, True), (0xFFC0_0000, 5, True), (0x8000_0005, 5, True),
        (5, 0x7FC0_0000, False), (5, 6, False), (0x7FC0_0001, 5, False),
    ],
)  # fmt: skip
def test_lower_halves_of_singles_are_compared(ours: int, theirs: int, explained: bool) -> None:
    assert unicorn_differences.may_be_unboxed(ours, theirs) is explained


# Nobody is wrong, or Unicorn is, and still it is reported as a divergence.

DIVERGENCES = [
    ("a0", FS_ON + "li a0, 5\n fmv.d.x fa1, a0\n fmv.w.x fa0, a0\n fsgnjn.s fa2, fa1, fa0\n"
     " fmv.x.w a0, fa2"),
    ("a1", FS_ON + "li a0, 5\n fmv.w.x fa0, a0\n fmv.x.d a1, fa0"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "code"), DIVERGENCES)
def test_what_is_reported_although_tcglite_is_right(what: str, code: str) -> None:
    divergence = run(code, "piece").divergence
    assert divergence is not None
    assert divergence.what == what
    agree([run(code, "insn")])


@pytest.mark.parametrize("grain", ["piece", "insn"])
def test_a_device_over_ram(grain: str) -> None:
    """HTIF: words of RAM that are a device here, and RAM in Unicorn."""
    guest = assemble("""
_start: la a0, tohost
        la a1, fromhost
        li a2, 0x0101000000000041       # print an A
        sd a2, 0(a0)
        ld a3, 0(a0)
        ld a4, 0(a1)
        sd zero, 0(a1)
        ld a5, 0(a1)
        lw a6, 0(a0)
        li a2, 1                        # the end
        sd a2, 0(a0)
1:      j 1b
        .balign 64
tohost: .dword 0
        .balign 64
fromhost: .dword 0
""")
    report = agree(check(guest, memory="64K", max_insns=100, grain=grain))
    assert report.counts["device accesses"] == 7
