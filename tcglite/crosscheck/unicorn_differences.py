"""What Unicorn does otherwise than we, by the names that ``docs/differences.md`` explains."""

from __future__ import annotations

from ..accel.tb import TranslationBlock
from ..accel.translate_all import retranslate
from ..target import trap
from ..target.cpu import FLAGS_FS_SHIFT, FS_SHIFT, MSTATUS_FS, MSTATUS_TW, PRV_M
from ..target.csr import TABLE as CSRS
from ..target.decode import Insn, decode, insn_length
from ..target.insns import ENDS_TB
from ..target.names import CSR_NUMBERS
from ..tcg.env import PAGE_MASK, PAGE_SIZE
from .oracle import State, Trap

OP_LIMIT = 100  #: instructions; shorter blocks fit into every op buffer

_S_MODE = {CSR_NUMBERS["medeleg"], CSR_NUMBERS["mideleg"]}
#: CSRs that only Unicorn has: mucounteren, odd pmpcfg, and hpmcounters as seen from U mode.
_ONLY_THERE = {0x321, 0x3A1, 0x3A3, *range(0xC03, 0xC20)}
#: Read-only ones that both have. Unicorn knows neither time nor mconfigptr.
_BOTH_READ_ONLY = {CSR_NUMBERS[name] for name in (
    "cycle", "instret", "mvendorid", "marchid", "mimpid", "mhartid",
)}  # fmt: skip
_LOADS, _STORES = ("load", "fpload", "lr"), ("store", "fpstore", "sc", "amo")


def legal_there(insn: Insn | None, bits: int, fs: int) -> str | None:
    """The name of the difference, for an instruction that is illegal here and not in Unicorn,
    in M mode at least. ``fs``: mstatus.FS, 0 to 3. Found by trying all of them."""
    if insn is None:  # what later extensions use: loads and stores of bytes, and c.mul
        new = bits & 0xE003 == 0x8000 or bits & 0xFC43 == 0x9C41
        return "reserved-compressed" if new else None
    if insn.family == "fparith":
        return "fp-arithmetic" if fs else None
    if insn.name == "sfence.vma":
        return "s-mode"
    if not fs and insn.family in ("fpload", "fpstore", "fsgnj"):
        old = insn.length == 2 or insn.name == "fsgnj.d"
        return "fp-while-off" if old else None
    return None


def executed_there(insn: Insn | None, bits: int, before: State) -> str | None:
    """The same where the hart is known: its state before the instruction."""
    priv, status = before["priv"], before["mstatus"]
    if insn is not None and insn.family in ("csr", "csri"):
        return _csr_there(insn, before)
    if insn is not None and insn.family == "wfi":
        return "mstatus-tw" if priv < PRV_M and status & MSTATUS_TW else None
    known = legal_there(insn, bits, (status & MSTATUS_FS) >> FS_SHIFT)
    return None if known == "s-mode" and priv < PRV_M else known


def _csr_there(insn: Insn, before: State) -> str | None:
    """An access to a CSR. Unicorn asks which bits are to change, not which register has them."""
    number = insn.csr
    value = before.x[insn.rs1] if insn.family == "csr" else insn.rs1
    writes = insn.arg == "rw" or value != 0
    if before["priv"] < number >> 8 & 3 or (number >> 10 == 3 and writes):
        return None
    if number not in CSRS:
        if number in _S_MODE:
            return "s-mode"
        return "csr-missing" if number in _ONLY_THERE else None
    if number not in _BOTH_READ_ONLY:
        return None
    counter = CSRS[number].counter
    if counter is not None and before["priv"] < PRV_M and not before["mcounteren"] >> counter & 1:
        return "mcounteren"
    return "csr-read-only" if insn.family == "csr" and insn.rs1 else None


def refused_here(insn: Insn | None, ours: Trap, before: State) -> bool:
    """Is the trap one that this load or store may get from a device that refuses? Which one is
    not said by Unicorn, so at least kind and address must be the instruction's."""
    if insn is None or insn.family not in (*_LOADS, *_STORES):
        return False
    load = insn.family in _LOADS
    first = before.x[insn.rs1] + insn.imm & ~7  # misaligned accesses begin with whole words
    cause = trap.LOAD_ACCESS_FAULT if load else trap.STORE_ACCESS_FAULT
    return ours.mcause == cause and 0 <= (ours.tval - first) % (1 << 64) < 16


def may_be_unboxed(ours: int, theirs: int) -> bool:
    """Can the two, as lower halves, be the same single but for NaN boxing? What is no boxed
    single counts as the canonical NaN: that, with any sign, or its sign in another number."""
    low = (1 << 31) - 1
    return (ours ^ theirs) & low == 0 or ours & low == 0x7FC0_0000


def other_end(tb: TranslationBlock, icount: int, size: int, following: int) -> str | None:
    """The name of the difference that explains why Unicorn's block at the same place has
    ``icount`` instructions in ``size`` bytes. ``following``: bytes of the instruction after ours.
    """
    end = tb.pc + len(tb.code)
    bits = retranslate(tb).words[-1][1]
    last = decode(bits)
    known = legal_there(last, bits, tb.flags >> FLAGS_FS_SHIFT & 3)
    if known and icount > tb.icount:
        return known
    if (icount, size) == (tb.icount, len(tb.code) - insn_length(bits)) and last is None:
        return "illegal-length"
    ends = last is None or bool(last.flags & ENDS_TB)
    one_more = icount == tb.icount + 1 and size - len(tb.code) in (following, 0)  # 0: illegal
    if one_more and not ends and end & ~PAGE_MASK == PAGE_SIZE - 2:
        return "page-end"
    if OP_LIMIT <= icount < tb.icount or OP_LIMIT <= tb.icount < icount:
        return "op-buffer"
    return None
