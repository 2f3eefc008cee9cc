"""Making a block, and finding the way back from its host code (QEMU: accel/tcg/translate-all.c).

Search data: for each guest instruction, the three words of its ``insn_start`` and the offset at
which its host code ends, each as a signed LEB128 difference to the row before. Nothing of it costs
anything at run time; it is read when a fault has to know which instruction it hit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..target.translate import Translation, translate
from ..tcg.cflags import CF_INVALID, cf_count, cf_with_count
from ..tcg.optimize import optimize
from ..trace import events as ev
from .tb import TranslationBlock

if TYPE_CHECKING:
    from .cpu import CPUState


def tb_gen_code(cpu: CPUState, pc: int, flags: int, cflags: int) -> TranslationBlock:
    """Translate the block at ``pc``; a fetch fault leaves for the loop, precisely."""
    ctx = cpu.tbs
    in_ram = cpu.memory.in_ram(pc, 2)
    if not in_ram:
        cflags = cf_with_count(cflags, 1)  # device contents may change: one instruction, once
    if ctx.backend.used >= ctx.backend.capacity:
        ctx.flush("code buffer full")
    memory = cpu.memory
    ram, base, last = memory.ram, memory.ram_base, memory.ram_size - 2

    def fetch(addr: int) -> int:
        """16 bits of code: from RAM at once, from elsewhere in the way that may fault."""
        offset = addr - base
        return ram[offset] | ram[offset + 1] << 8 if 0 <= offset <= last else cpu.fetch(addr)

    t = translate(fetch, pc, flags, cflags)
    ctx.made += 1
    full = cf_count(cflags) == cpu.mechanisms.max_block_insns
    tb = TranslationBlock(
        ctx.made, pc, pc, flags, cflags, t.icount, t.code, t.indirect, full
    )
    ops = optimize(t.builder)
    tb.host = ctx.backend.compile(ops, tb.number)
    tb.search = encode_search(pc, t.words, tb.host.insn_ends)
    cpu.stats.tb_translated += 1
    ctx.register(tb)
    if in_ram and cpu.mechanisms.cache:
        ctx.link_page(tb)
    else:
        tb.cflags |= CF_INVALID  # nobody may find it or link to it
        cpu.one_shot = tb
    shape = {"count": tb.icount, "full": tb.full, "indirect": tb.indirect}
    cpu.emit(ev.BlockTranslated, tb=tb.number, pc=pc, **shape)
    cpu.on_translate(tb)
    return tb


def retranslate(tb: TranslationBlock) -> Translation:
    """The front end's work for ``tb`` again, from the guest bytes kept with it: for listings."""

    def fetch(addr: int) -> int:
        offset = addr - tb.pc
        # Only the look across the page end reads past the block; any half-word ends it there.
        bits = tb.code[offset : offset + 2]
        return int.from_bytes(bits, "little") if bits else 1

    return translate(fetch, tb.pc, tb.flags, cf_with_count(tb.cflags & ~CF_INVALID, tb.icount))


def encode_search(pc: int, words: list[list[int]], ends: list[int]) -> bytes:
    """Search data of a block (QEMU: encode_search); the first row is relative to (pc, 0, 0, 0)."""
    out: list[int] = []
    bits = word2 = end = 0
    for (next_pc, next_bits, next_word2), next_end in zip(words, ends, strict=True):
        for delta in (next_pc - pc, next_bits - bits, next_word2 - word2, next_end - end):
            while not -64 <= delta < 64:  # signed LEB128: seven bits in each byte, low ones first
                out.append(delta & 0x7F | 0x80)
                delta >>= 7
            out.append(delta & 0x7F)
        pc, bits, word2, end = next_pc, next_bits, next_word2, next_end
    return bytes(out)


@dataclass(frozen=True, slots=True)
class SearchRow:
    """One decoded row: instruction ``index``, the ``raw`` bytes, the four differences, the three
    words, and the host offset ``end`` at which the instruction's code ends."""

    index: int
    raw: bytes
    deltas: tuple[int, int, int, int]
    words: tuple[int, int, int]
    end: int


def decode_search(tb: TranslationBlock) -> Iterator[SearchRow]:
    """The search data of ``tb``, row by row, as cpu_unwind_data_from_tb reads it."""
    data, at = tb.search, 0
    values = [tb.pc, 0, 0, 0]
    for index in range(tb.icount):
        start = at
        deltas = []
        for i in range(4):
            value = shift = 0
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if not byte & 0x80:
                    break
            if byte & 0x40:
                value -= 1 << shift
            deltas.append(value)
            values[i] += value
        d0, d1, d2, d3 = deltas
        w0, w1, w2, end = values
        yield SearchRow(index, data[start:at], (d0, d1, d2, d3), (w0, w1, w2), end)


def unwind(tb: TranslationBlock, host_pc: int, getpc_adj: int) -> SearchRow | None:
    """The row of the instruction whose host code covers ``host_pc``, a return address."""
    offset = host_pc - getpc_adj - tb.host.start
    if offset >= 0:
        for row in decode_search(tb):
            if row.end > offset:
                return row
    return None
