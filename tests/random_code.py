"""Random bytes as guest code: programs, machines, and questions about what a run leaves behind.

Run as a program, ``random_code.py FIRST COUNT [BACKEND]`` runs programs FIRST, FIRST + 1, … under
random switches, some twice: the second time under other switches that must make no difference.
BACKEND "both" runs each on both, which must make none either, to the last event. It ends with
status 0 and prints one JSON object if the host survived and all invariants held; else it names the
first program that broke one, which its number reproduces.
"""

from __future__ import annotations

import json
import random
import struct
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from backends import jumps_to

from tcglite import Machine, Mechanisms, guests
from tcglite.accel.mechanisms import IRQ_CHECKS
from tcglite.crosscheck.backends import differences, state
from tcglite.hw.clock import HostClock
from tcglite.hw.loader import read_image
from tcglite.machine import RunResult, StopReason
from tcglite.target.asm import assemble
from tcglite.target.insns import ROWS, Row
from tcglite.trace.events import BlockRun

RAM, SIZE = 0x8000_0000, 1 << 15
SECONDS = 30.0  #: a counted run that takes so long has hung

#: Loads all registers from a table, then jumps to the code. The handler of every trap goes on at
#: a random place of the code, in a random privilege, for as long as nobody has overwritten it.
HARNESS = assemble(
    """
        .option norvc
_start: la      t0, handler
        csrw    mtvec, t0
        li      t0, 0x2004000           # the timer is not due for long
        li      t1, -1
        sd      t1, 0(t0)
        la      x31, table
        ld      t0, 0(x31)
        csrw    mie, t0
        ld      t0, 8(x31)
        csrw    mstatus, t0
        la      t0, code
        csrw    mepc, t0
"""
    + "".join(f"        ld x{n}, {8 * n}(x31)\n" for n in range(1, 32))
    + """
        mret
        .balign 64
handler:
        csrw    mscratch, x5
        la      x5, seed
        sd      x6, 8(x5)
        sd      x7, 16(x5)
        ld      x6, 0(x5)
        slli    x7, x6, 13              # xorshift
        xor     x6, x6, x7
        srli    x7, x6, 7
        xor     x6, x6, x7
        slli    x7, x6, 17
        xor     x6, x6, x7
        sd      x6, 0(x5)
        csrw    mstatus, x6
        srli    x7, x6, 20
        and     x7, x7, x6              # interrupts are mostly off: a line may stay up for ever
        csrw    mie, x7
        srli    x7, x6, 40
        andi    x7, x7, 0x3fe
        la      x6, code
        add     x6, x6, x7
        csrw    mepc, x6
        ld      x6, 8(x5)
        ld      x7, 16(x5)
        csrr    x5, mscratch
        mret
        .balign 8
seed:   .dword  0, 0, 0
table:  .space  256
        .balign 64
code:   .space  1024
"""
)
IMAGE = read_image(HARNESS, RAM).segments


@cache
def _flat() -> bytes:
    image = bytearray(max(addr + size for addr, _, size in IMAGE) - RAM)
    for addr, data, _ in IMAGE:
        image[addr - RAM : addr - RAM + len(data)] = data
    return bytes(image)


@cache
def _bundled() -> list[bytes]:
    """The bundled guests that fit, as flat images."""
    found = []
    for name in guests.names():
        segments = read_image(guests.load(name), RAM).segments
        size = max(addr + size for addr, _, size in segments) - RAM
        if size <= SIZE:
            image = bytearray(size)
            for addr, data, _ in segments:
                image[addr - RAM : addr - RAM + len(data)] = data
            found.append(bytes(image))
    return found


def instruction(
    rng: random.Random, rows: Sequence[Row] = tuple(ROWS.values()), near: float = 0.3
) -> bytes:
    """A valid encoding, mostly: the fixed bits of a random row, everything else random. ``near``:
    how often offsets are small."""
    row = rng.choice(rows)
    bits = rng.getrandbits(8 * row.length)
    if rng.random() < near:
        bits &= ~0xFC00_0000
    bits = bits & ~row.mask | row.value
    return bits.to_bytes(row.length, "little")


def value(rng: random.Random) -> int:
    """What a register begins with: often an address that something lies at."""
    kind = rng.randrange(8)
    if kind < 3:
        return RAM + rng.randrange(len(_flat()) + 64)
    if kind == 3:
        return rng.choice((RAM, RAM + SIZE)) + rng.randrange(-16, 16)
    if kind == 4:
        base = rng.choice((0x10_0000, 0x200_0000, 0x200_4000, 0x200_BFF8, 0xC00_0000, 0x1000_0000))
        return base + rng.randrange(16)
    if kind == 5:
        return rng.randrange(-64, 64) & (1 << 64) - 1
    return rng.getrandbits(64)


def uniform(rng: random.Random) -> bytes:
    """Nothing but noise."""
    return rng.randbytes(rng.choice((16, 256, 4096)))


def harnessed(rng: random.Random, code: bytes, value: Callable[[random.Random], int]) -> bytes:
    """The harness around ``code``; ``value`` gives the registers."""
    image = bytearray(_flat())
    table = HARNESS.symbols["table"] - RAM
    for n in range(32):
        struct.pack_into("<Q", image, table + 8 * n, value(rng))
    struct.pack_into("<Q", image, table, rng.choice((0, 8, 128, 0x888)))
    struct.pack_into("<Q", image, HARNESS.symbols["seed"] - RAM, rng.getrandbits(64) | 1)
    at = HARNESS.symbols["code"] - RAM
    image[at : at + 1024] = (code * (1024 // len(code) + 1))[:1024]
    return bytes(image)


def noise(rng: random.Random) -> bytes:
    """Noise, begun anew elsewhere after each trap."""
    return harnessed(rng, rng.randbytes(1024), value)


def valid(rng: random.Random) -> bytes:
    """Random instructions, most of them valid."""
    code = b""
    while len(code) < 1024:
        code += instruction(rng)
    return harnessed(rng, code, value)


def writing(rng: random.Random) -> bytes:
    """Random instructions that store into each other."""
    code = b""
    while len(code) < 1024:
        code += instruction(rng, _STORES if rng.random() < 0.4 else tuple(ROWS.values()), 0.9)
    start = HARNESS.symbols["code"]
    return harnessed(rng, code, lambda rng: start + rng.randrange(1024))


_STORES = tuple(row for row in ROWS.values() if row.family in ("store", "amo", "sc"))


def mutated(rng: random.Random) -> bytes:
    """A bundled guest with some bits flipped and some instructions replaced."""
    image = bytearray(rng.choice(_bundled()))
    for _ in range(rng.randrange(1, 12)):
        at = rng.randrange(min(len(image), 512)) & ~1
        if rng.random() < 0.5:
            image[at] ^= 1 << rng.randrange(8)
        else:
            new = instruction(rng)
            image[at : at + len(new)] = new
    return bytes(image)


GENERATORS = (uniform, uniform, noise, valid, writing, mutated)


@dataclass
class Setting:
    """How to make and run a machine. ``stops``: instruction numbers at which to stop it."""

    mechanisms: Mechanisms
    options: dict[str, Any] = field(default_factory=dict)
    raises: list[tuple[int, str]] = field(default_factory=list)
    typed: bytes = b""
    stops: list[int] = field(default_factory=list)


def setting(rng: random.Random) -> Setting:
    check = rng.choice(list(IRQ_CHECKS))
    options: dict[str, Any] = {}
    if check == "tb-start" and rng.random() < 0.4:
        options["icount"] = rng.choice((0, 3, 10))
    mechanisms = Mechanisms(
        cache=rng.random() < 0.98,
        chain=rng.random() < 0.7,
        goto_ptr=rng.random() < 0.7,
        irq_check=check,
        quantum=rng.choice((1, 3, 50, 1000)),
        restore=rng.choice((True, True, "eager", False)),
        icount_recompile=rng.random() < 0.8,
        io_last=rng.random() < 0.3,
        invalidate=rng.random() < 0.9,
        max_block_insns=rng.choice((1, 3, 8, 512, 512, 512)),
    )
    if rng.random() < 0.5:
        options["trace"] = rng.choice(("events", "blocks", "times"))
    if check != "quantum" and "icount" not in options and rng.random() < 0.1:
        options["count"] = False
    total = rng.randrange(50, 300)
    lines = ("mtip", "msip", "meip", "uart", "plic:1", "plic:95")
    return Setting(
        mechanisms,
        options,
        [(rng.randrange(total), rng.choice(lines)) for _ in range(rng.choice((0, 0, 1, 5)))],
        rng.randbytes(rng.choice((0, 0, 20))),
        sorted({total, *(rng.randrange(total) for _ in range(rng.choice((0, 0, 3))))}),
    )


def other(rng: random.Random, s: Setting) -> tuple[Setting, bool]:
    """Switches that must give the same; True: only if no interrupt is taken and no code changes."""
    if rng.random() < 0.5 and s.mechanisms.irq_check in ("tb-start", "tb-end", "every-insn"):
        mechanisms = replace(
            s.mechanisms,
            chain=rng.random() < 0.5,
            goto_ptr=rng.random() < 0.5,
            cache=rng.random() < 0.8 or not s.mechanisms.invalidate,
        )
        return replace(s, mechanisms=mechanisms, options=s.options | {"trace": "blocks"}), False
    mechanisms = replace(
        s.mechanisms,
        max_block_insns=rng.choice((4, 512)),
        io_last=rng.random() < 0.5,
        irq_check=s.mechanisms.irq_check
        if s.options.keys() & {"icount", "count"}
        else rng.choice(list(IRQ_CHECKS)),
    )
    return replace(s, mechanisms=mechanisms, stops=s.stops[-1:]), True


class Broken(AssertionError):
    """An invariant does not hold."""


def check(held: object, text: str) -> None:
    if not held:
        raise Broken(text)


def run(image: bytes, s: Setting, backend: str) -> tuple[Machine, RunResult]:
    """The machine after its last run."""
    m = Machine(image, memory=SIZE, backend=backend, mechanisms=s.mechanisms, **s.options)
    m._vcpu.may_wake = lambda: False  # nothing comes from outside: a wfi that waits is the end
    counted = m.insns is not None
    if counted:
        m._vcpu._watch = lambda ended: ended.wait()  # its thread would write events at any moment
        for n, line in s.raises:
            m.raise_at(n, line)
    m.uart.type(s.typed)
    result = None
    for stop in s.stops:
        if not counted:
            result = m.run(timeout=0.01)
        else:
            assert m.insns is not None
            result = m.run(max_insns=max(0, stop - m.insns), timeout=SECONDS)
            check(result.reason is not StopReason.TIMEOUT, "a run with a limit hangs")
        invariants(m, result)
        if result.reason not in (StopReason.MAX_INSNS, StopReason.TIMEOUT):
            break
    assert result is not None
    return m, result


_ENDS = {"exit", "reset", "max-insns", "timeout", "unhandled-trap", "deadlock"}


def invariants(m: Machine, result: RunResult) -> None:
    """What holds after every run, whatever ran."""
    cpu, tbs = m._cpu, m._cpu.tbs
    check(result.reason.value in _ENDS, f"reason {result.reason}")
    check("\n" not in result.detail, f"detail {result.detail!r}")
    check(result.pc == m.cpu.pc and not result.pc & 1, f"pc {result.pc:#x}")
    check(m.cpu["zero"] == 0, "x0 was written")
    check(m.cpu.priv in (0, 3), f"privilege {m.cpu.priv}")
    if m.insns is None:
        check(result.insns is None, "insns without counting")
    else:
        check(0 <= m.insns <= 1 << 20, f"insns {m.insns}")
        env = cpu.env
        minstret = m.cpu.csr["minstret"] - env.minstret_offset & (1 << 64) - 1
        check(minstret == m.insns, f"minstret {minstret}, insns {m.insns}")
    check(tbs._starts == sorted(tbs._starts), "blocks are not in the order of their addresses")
    check(len(tbs._starts) == len(tbs._by_start) == len(tbs.by_number), "blocks lost")
    for key, tb in tbs.htable.items():
        check(key == tb.key and not tb.invalid, f"{tb} in the hash table")
        check(tb in tbs.pages[tb.phys >> 12], f"{tb} is on no page")
    for page, blocks in tbs.pages.items():
        check(blocks and all(b.key in tbs.htable for b in blocks), f"page {page:#x}")
    for tb in tbs.by_number.values():
        for slot, dest in enumerate(tb.jmp_dest):
            if dest is not None:
                check((tb, slot) in dest.incoming and not dest.invalid, f"link {tb} -> {dest}")
                check(jumps_to(m, tb.number, slot) == dest.number, f"slot {slot} of {tb}")
                check(tb.phys >> 12 == dest.phys >> 12, f"link {tb} -> {dest} across pages")
            else:
                check(jumps_to(m, tb.number, slot) is None, f"slot {slot} of {tb}")
        for src, slot in tb.incoming:
            check(src.jmp_dest[slot] is tb, f"incoming {src} -> {tb}")
    if m.recorder.mode in ("blocks", "times") and m.insns is not None and not m.events_lost:
        executed = sum(e.executed for e in m.events if isinstance(e, BlockRun))
        check(executed == m.insns, f"the blocks ran {executed} instructions, not {m.insns}")
    for view in m.tbs[-1:]:
        check(view.guest and view.host and view.search and view.ir is not None, f"views of {view}")


def same_on_x86(image: bytes, s: Setting, m: Machine, result: RunResult) -> None:
    """What the x86_64 backend makes of it is what the python backend has made of it."""
    n, native = run(image, s, "x86_64")
    found = list(differences(m, result, n, native))
    check(not found, f"backends differ: {found}: {s}")
    n.close()


def one(number: int, seen: Counter[str], backend: str) -> None:
    """Program ``number``: run it; some of them a second time."""
    rng = random.Random(number)
    image, s = rng.choice(GENERATORS)(rng), setting(rng)
    m, result = run(image, s, "python" if backend == "both" else backend)
    if backend == "both":
        backend = "x86_64"
        if m.insns is not None:  # else the host's clock ends it
            same_on_x86(image, s, m, result)
    seen[result.reason.value] += 1
    seen["insns"] += m.insns or 0
    seen["interrupts"] += m.stats.interrupts_taken
    seen["exceptions"] += m.stats.exceptions
    seen["invalidated"] += m.stats.tb_invalidated
    if m.insns is not None and s.mechanisms.restore is not False and rng.random() < 0.3:
        t, careful = other(rng, s)
        n, again = run(image, t, backend)
        moved = any(x.stats.interrupts_taken or x.stats.tb_invalidated for x in (m, n))
        # After a store that ends the run, the rest of the block still runs.
        ended = result.reason in (StopReason.EXIT, StopReason.RESET)
        # Where devices may see the wrong time, how wrong it is depends on the blocks.
        wrong = "icount" in s.options and not s.mechanisms.icount_recompile
        if not (careful and (moved or ended or wrong or not s.mechanisms.invalidate)):
            seen["compared"] += 1
            a, b = state(m, result), state(n, again)
            check(a == b, f"differ in { {k: (a[k], b[k]) for k in a if a[k] != b[k]} }: {s}, {t}")
        n.close()
    m.close()


def main() -> int:
    """Run the programs that the command line asks for."""
    first, count = int(sys.argv[1]), int(sys.argv[2])
    backend = sys.argv[3] if len(sys.argv) > 3 else "python"
    HostClock.start = lambda self: None  # type: ignore[method-assign]  # time stands still
    seen: Counter[str] = Counter()
    for number in range(first, first + count):
        try:
            one(number, seen, backend)
        except BaseException:
            print(f"program {number}:", file=sys.stderr)
            raise
    print(json.dumps(seen))
    return 0


if __name__ == "__main__":
    sys.exit(main())
