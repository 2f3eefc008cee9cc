"""Host code to look at: Capstone's text, and a note on what an address or register stands for."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from typing import TYPE_CHECKING, Any

from ..backend import HostInsn
from .emit import Emission
from .layout import BIAS, BUDGET, ENV, NAMES, Layout

if TYPE_CHECKING:
    from .backend import X86Code


@cache
def _capstone() -> Any:
    import capstone

    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    engine.detail = True
    return engine


def listing(
    raw: bytes,
    code: X86Code,
    made: Emission,
    layout: Layout,
    thunks: dict[str, int],
    base: int,
    names: dict[int, str],
) -> list[HostInsn]:
    """The instructions of one block. Of a jump slot the bytes are as they are patched now.
    ``names``: of what lies at a displacement from rbp."""
    places = [offset for offset, _ in made.marks]
    jumps = {slot[0]: n for n, slot in enumerate(code.slots) if slot is not None}
    entries = {base + offset: name for name, offset in thunks.items()}
    rows = []
    for insn in _capstone().disasm(raw, code.start):
        offset = insn.address - code.start
        op = made.marks[bisect_right(places, offset) - 1][1]
        end = offset + insn.size
        text = f"{insn.mnemonic} {insn.op_str}".rstrip()
        note = _note(insn, layout, names)
        target = insn.operands[0].imm if insn.group(1) or insn.group(2) else None
        if end - 4 in jumps and target is not None:
            slot = jumps[end - 4]
            own = code.slots[slot]
            assert own is not None
            patched = target != code.start + own[1]
            note = f"slot {slot}: {'patched' if patched else 'its own exit'}"
        elif target in entries:
            note = f"thunk: {entries[target]}"
        rows.append(HostInsn(insn.address, bytes(insn.bytes).hex(), text, note, op))
    return rows


def _note(insn: Any, layout: Layout, names: dict[int, str]) -> str:
    """What the guest's state and registers in this instruction are."""
    fields = names | {
        layout.pc: "pc", layout.flags: "tb_flags", layout.low: "budget", layout.high: "exit flag",
        layout.ring_next: "ring_next",
        layout.tlb: "TLB, read tag", layout.tlb + 8: "TLB, write tag",
        layout.jmp_cache: "jump cache: pc", layout.jmp_cache + 8: "jump cache: flags",
        layout.jmp_cache + 16: "jump cache: host code",
    }  # fmt: skip
    homes = {NAMES[home]: temp.name for temp, home in layout.homes.items()}
    found = []
    for operand in insn.operands:
        if operand.type == 3:  # memory
            if insn.reg_name(operand.mem.base) == NAMES[ENV]:
                disp = operand.mem.disp
                found.append(fields.get(disp) or f"env+{disp + BIAS:#x}")
            continue
        if operand.type == 1:
            register = insn.reg_name(operand.reg)
            name = homes.get(_WHOLE.get(register, register))
            if layout.count and _WHOLE.get(register, register) == NAMES[BUDGET]:
                name = "-budget"
            if name and name not in found:
                found.append(name)
    return ", ".join(found)


#: Parts of registers -> the whole register.
_WHOLE = {
    **{f"r{n}{part}": f"r{n}" for n in range(8, 16) for part in "dwb"},
    **{f"e{x}": f"r{x}" for x in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")},
    **{x: f"r{x}" for x in ("ax", "bx", "cx", "dx", "si", "di")},
    **{f"{x}l": f"r{x}x" for x in "abcd"},
    "sil": "rsi",
    "dil": "rdi",
}
