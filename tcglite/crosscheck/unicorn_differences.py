"""What Unicorn does otherwise than we, by the names that ``docs/differences.md`` explains."""

from __future__ import annotations

from ..accel.tb import TranslationBlock
from ..accel.translate_all import retranslate
from ..target.cpu import FLAGS_FS_SHIFT
from ..target.csr import TABLE as CSRS
from ..target.decode import Insn, decode, insn_length
from ..target.insns import ENDS_TB
from ..target.names import CSR_NUMBERS
from ..tcg.env import PAGE_MASK, PAGE_SIZE

OP_LIMIT = 150  #: instructions; shorter blocks fit into every op buffer

#: Families of instructions that are illegal here and not there, and the name of the difference:
#: arithmetic that does not exist yet; wfi in U mode, for Unicorn has no mstatus.TW; sfence.vma.
_LEGAL_THERE = {"fparith": "fp-arithmetic", "wfi": "mstatus-tw", "illegal_s": "s-mode"}


def legal_there(insn: Insn | None, bits: int, fs: int) -> str | None:
    """The name of the difference, for an instruction that is illegal here and not in Unicorn.
    ``fs``: mstatus.FS, 0 to 3."""
    if insn is None:  # an encoding that is reserved
        return "reserved-compressed" if insn_length(bits) == 2 else None
    if insn.family in _LEGAL_THERE:
        return _LEGAL_THERE[insn.family]
    if insn.family in ("fpload", "fpstore", "fsgnj") and not fs:
        old = insn_length(bits) == 2 or (insn.family == "fsgnj" and insn.arg[1] == "d")
        return "fp-while-off" if old else None
    if insn.family in ("csr", "csri"):
        number = insn.csr
        if number >> 5 == 0xC00 >> 5:
            return "mcounteren"
        s_mode = number >> 8 & 3 == 1 or number in (CSR_NUMBERS["medeleg"], CSR_NUMBERS["mideleg"])
        return "s-mode" if s_mode and number not in CSRS else None
    return None


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
