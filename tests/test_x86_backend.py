"""The x86_64 backend: where it works and where it says why not, its buffer, listings, exits.

That its code computes the right things is for ``test_x86_ir``, ``test_x86_asm`` and
``random_code``.
"""

from __future__ import annotations

import mmap
import os
import platform
import random
import subprocess
import sys
from bisect import bisect_right

import pytest
from backends import jumps_to, slow_paths

from tcglite import Machine, Mechanisms, guests
from tcglite.accel.translate_all import retranslate, unwind
from tcglite.errors import BackendUnavailable
from tcglite.machine import StopReason
from tcglite.target.insns import ROWS
from tcglite.tcg.cflags import CF_TRACE_MASK, CF_TRACE_SHIFT, TRACE_BLOCKS, TRACE_TIMES
from tcglite.tcg.ir import Op
from tcglite.tcg.optimize import optimize
from tcglite.tcg.x86_64.backend import HEADROOM
from tcglite.tcg.x86_64.buffer import unsupported
from tcglite.trace.events import BlocksFlushed

native = pytest.mark.skipif(bool(unsupported()), reason=unsupported())
BASE = 0x8000_0000
EVERY = Mechanisms(irq_check="every-insn", restore="eager")


def ran(name: str, **options) -> Machine:
    """A machine that has run a guest for a while, and is closed."""
    mechanisms = options.get("mechanisms", Mechanisms())
    icount = 0 if mechanisms.irq_check == "tb-start" else None
    with Machine(guests.load(name), memory="1M", icount=icount, **options) as m:
        m.run(max_insns=100_000, timeout=30)
    return m


# Looking, on every computer.

ELSEWHERE = [("arm64", "darwin"), ("AMD64", "win32"), ("riscv64", "linux")]


def elsewhere(monkeypatch, machine: str, system: str) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(sys, "platform", system)


def covers(rows, start: int, size: int) -> None:
    """The rows are all of it, without gaps."""
    at = start
    for row in rows:
        assert row.address == at
        at += len(row.raw) // 2
    assert at == start + size


@pytest.mark.parametrize(("machine", "system"), ELSEWHERE)
def test_other_computers_list_x86_code(monkeypatch, machine, system):
    """Nothing of it runs, and it is what an x86-64 computer would run, helpers' places aside."""
    m = ran("timer", backend="python")
    here = [[r.text for r in tb.host_on("x86_64") if "mov" not in r.text] for tb in m.tbs]
    elsewhere(monkeypatch, machine, system)
    for tb, texts in zip(m.tbs, here, strict=True):
        rows = tb.host_on("x86_64")
        covers(rows, rows[0].address, sum(len(row.raw) // 2 for row in rows))
        assert [row.text.split()[0] for row in rows if "mov" not in row.text] == [
            text.split()[0] for text in texts
        ]


@native
def test_each_backend_lists_the_other_ones_code():
    for name in ("python", "x86_64"):
        m = ran("timer", backend=name)
        for tb in m.tbs:
            assert any("def " in row.text for row in tb.host_on("python"))
            assert any("jmp" in row.text for row in tb.host_on("x86_64"))


@pytest.mark.parametrize(("machine", "system"), ELSEWHERE)
def test_elsewhere_it_says_why_not(monkeypatch, machine, system):
    elsewhere(monkeypatch, machine, system)
    why = machine if machine != "AMD64" else system
    with pytest.raises(BackendUnavailable, match=why) as error:
        Machine(guests.load("hello"), backend="x86_64")
    assert "\n" not in str(error.value)
    with Machine(guests.load("hello"), backend="auto") as m:
        assert m.backend == "python"
        assert why in m.backend_note
        if system != "win32":  # Python itself would then look for what Windows has
            assert m.run(timeout=30).reason is StopReason.EXIT


# Memory to run code from.


def refuse(monkeypatch, everything: bool) -> None:
    """As on a system that maps nothing both to write and to run, or nothing to run at all."""
    right = mmap.mmap

    def wrong(fileno, length, flags=None, prot=mmap.PROT_READ | mmap.PROT_WRITE, **rest):
        if prot & mmap.PROT_EXEC and (everything or prot & mmap.PROT_WRITE):
            raise PermissionError(13, "Permission denied")
        return right(fileno, length, flags or mmap.MAP_SHARED, prot, **rest)

    monkeypatch.setattr(mmap, "mmap", wrong)


@native
@pytest.mark.skipif(sys.platform != "linux", reason="needs memfd_create")
@pytest.mark.parametrize("name", ["timer", "selfmod", "fault", "crc"])
def test_where_nothing_may_be_writable_and_executable(monkeypatch, name):
    """The same memory mapped twice serves whole guests as well."""
    usual = ran(name, backend="x86_64")
    assert "rwx" in usual.backend_note
    refuse(monkeypatch, everything=False)
    m = ran(name, backend="x86_64")
    assert "dual" in m.backend_note
    assert (m.insns, m.console, m.stats) == (usual.insns, usual.console, usual.stats)
    assert m.stats.chain_patched


@native
@pytest.mark.skipif(sys.platform != "linux", reason="needs memfd_create")
def test_a_running_chain_is_patched_through_the_other_mapping(monkeypatch):
    """The loop tests no flag: only the patch gets it out."""
    refuse(monkeypatch, everything=False)
    loop = bytes.fromhex("9300100013000000 6ff0dfff")  # a spin
    with Machine(loop, backend="x86_64", mechanisms=Mechanisms(irq_check="unlink")) as m:
        assert "dual" in m.backend_note
        m.start()
        for _ in range(20):
            while not m.stats.chain_patched:
                pass
            assert m.pause().reason is StopReason.PAUSED
            m.start()
        m.pause()


@native
def test_where_nothing_may_be_run(monkeypatch):
    refuse(monkeypatch, everything=True)
    with pytest.raises(BackendUnavailable, match="no memory to run code from"):
        Machine(guests.load("hello"), backend="x86_64")
    with Machine(guests.load("hello")) as m:
        assert m.backend == "python"
        assert "no memory to run code from" in m.backend_note
        assert m.run(timeout=30).reason is StopReason.EXIT


@native
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_a_buffer_of_its_own():
    """In "rwx" memory, which is what is used here."""
    script = (
        "import os\n"
        "from tcglite.tcg.x86_64.buffer import make_buffer\n"
        "buffer = make_buffer(1 << 16)\n"
        "buffer.write(0, bytes(16))\n"
        "if not (child := os.fork()):\n"
        "    buffer.write(0, b'x' * 16)\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(buffer.kind, buffer.read(0, 16) == bytes(16))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["rwx", "True"], done.stderr


@native
@pytest.mark.parametrize("name", ["timer", "selfmod", "fault", "crc", "syscalls", "roundrobin"])
def test_a_full_buffer_is_flushed(name):
    """However little there is room for, guests do the same."""
    usual = ran(name, backend="x86_64", trace="events")
    for size in ("4K", "5K", "8K"):
        m = ran(name, backend="x86_64", trace="events", tb_size=size)
        assert (m.insns, m.console) == (usual.insns, usual.console), size
        assert m.memory[BASE : BASE + (1 << 20)] == usual.memory[BASE : BASE + (1 << 20)]
        whys = {event.why for event in m.events if isinstance(event, BlocksFlushed)}
        full = "code buffer full" in whys
        assert full >= (m.stats.tb_translated > usual.stats.tb_translated)
        backend = m._cpu.tbs.backend
        assert backend.used <= backend.capacity + HEADROOM
        if size == "4K" and usual.stats.tb_translated > 25:
            assert full
    assert "code buffer full" not in {getattr(e, "why", "") for e in usual.events}


@native
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_largest_block_fits(row):
    """A block may begin just below the capacity, and must end within the headroom behind it."""
    rng = random.Random(row.name)
    code = b""
    for _ in range(512):
        bits = rng.getrandbits(8 * row.length) & ~row.mask | row.value
        code += bits.to_bytes(row.length, "little")
    with Machine(code[:2048], backend="x86_64", mechanisms=EVERY, memory="1M", trace="times") as m:
        m.run(max_insns=0)
        m.run(max_insns=1, timeout=20)
        assert max((tb.host_size for tb in m.tbs), default=0) < HEADROOM


GIVEN_BACK = """
import gc, os, sys
from tcglite import Machine, guests
def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
def some(count):
    for n in range(count):
        m = Machine(guests.load("timer"), backend="x86_64", trace="blocks")
        m.run(max_insns=20_000, timeout=20)
        if sys.argv[1] == "close":
            m.close()
        del m
some(40)
before = resident()
some(120)
print(resident() - before)
"""


@native
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("how", ["close", "drop"])
def test_memory_is_given_back(how):
    done = subprocess.run(
        [sys.executable, "-c", GIVEN_BACK, how], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    # Some wait for a collection, at some 4 MiB each; all of them would be several hundred.
    assert int(done.stdout) < 100, f"{done.stdout} MiB more after 120 machines"


# Jumps.


@native
@pytest.mark.parametrize("mechanisms", [Mechanisms(), EVERY], ids=["plain", "every-insn"])
@pytest.mark.parametrize("trace", [None, "blocks"])
def test_displacements_are_aligned(mechanisms, trace):
    """So that one store patches them whatever the other thread reads."""
    seen = set()
    for name in ("crc", "syscalls", "quicksort"):
        m = ran(name, backend="x86_64", mechanisms=mechanisms, trace=trace)
        for tb in m._cpu.tbs.by_number.values():
            for place in filter(None, tb.host.slots):
                assert (tb.host.start + place[0]) % 4 == 0
                raw = m._cpu.tbs.backend.buffer.read(tb.host.offset + place[0] - 2, 2)
                seen.add("jcc" if raw[0] == 0x0F and raw[1] >> 4 == 8 else f"{raw[1]:#x}")
    assert seen == {"jcc", "0xe9"}


@native
def test_a_patched_jump_shows():
    """In the listing, before, while and after."""
    m = ran("crc", backend="x86_64")
    tb = next(tb for tb in m.tbs if any(n is not None for n in tb.slots))
    slot = next(n for n, dest in enumerate(tb.slots) if dest is not None)

    def row():
        (found,) = (r for r in tb.host if r.note.startswith(f"slot {slot}:"))
        return found

    code = m._cpu.tbs.by_number[tb.number].host
    patched = row()
    assert patched.note == f"slot {slot}: patched"
    dest = m._cpu.tbs.by_number[tb.slots[slot]].host
    assert int(patched.text.split()[-1], 0) == dest.start
    assert jumps_to(m, tb.number, slot) == tb.slots[slot]
    m._cpu.tbs.backend.set_jump(code, slot, None)
    assert row().note == f"slot {slot}: its own exit"
    assert int(row().text.split()[-1], 0) == code.start + code.slots[slot][1]
    assert jumps_to(m, tb.number, slot) is None
    m._cpu.tbs.backend.set_jump(code, slot, dest)
    assert row() == patched


# Listings and search data.

LISTED = [
    ("crc", Mechanisms(), None), ("fault", Mechanisms(), "blocks"), ("selfmod", EVERY, None),
    ("syscalls", Mechanisms(restore="eager"), "times"), ("vmexit", Mechanisms(), None),
    ("quicksort", Mechanisms(irq_check="tb-end"), None), ("roundrobin", EVERY, "blocks"),
]  # fmt: skip


@native
@pytest.mark.parametrize(("name", "mechanisms", "trace"), LISTED)
def test_listings_and_search_data_agree(name, mechanisms, trace):
    m = ran(name, backend="x86_64", mechanisms=mechanisms, trace=trace)
    assert m.tbs
    accesses = 0
    for view in m.tbs:
        tb = m._cpu.tbs.by_number[view.number]
        rows, ends = view.host, [row.end for row in view.search]
        covers(rows, view.host_start, view.host_size)
        assert b"".join(bytes.fromhex(row.raw) for row in rows) == m._cpu.tbs.backend.buffer.read(
            tb.host.offset, tb.host.size
        )
        assert ends == sorted(ends)
        assert len(ends) == view.icount if hasattr(view, "icount") else tb.icount
        main = [row for row in rows if row.address < tb.host.start + ends[-1]]
        assert [row.op for row in main] == sorted(row.op for row in main)
        for row in main:
            offset = row.address - tb.host.start
            insn = bisect_right(ends, offset)
            assert (row.insn or 0) == insn, row
            for byte in range(len(row.raw) // 2):
                found = unwind(tb, row.address + byte + 2, 2)
                assert found is not None
                assert found.index == insn
        for ra, insn in slow_paths(view):
            found = unwind(tb, ra, 2)
            assert found is not None
            assert found.index == insn
            accesses += 1
    assert accesses > 3


@native
def test_notes_name_fields_and_registers():
    m = ran("crc", backend="x86_64", trace="blocks")
    notes = {part for tb in m.tbs for row in tb.host for part in row.note.split(", ")}
    assert {"-budget", "exit flag", "ring_next", "TLB", "read tag", "thunk: exit"} <= notes
    homes = m._cpu.tbs.backend.layout.homes
    assert {temp.name for temp in homes} & notes


# Tracing.


def listed(m: Machine, ops: list[Op]) -> list[tuple[str, str]]:
    """(op, instruction) of the main line, places and addresses left out."""
    code = m._cpu.tbs.backend.compile(ops, 7)
    rows = m._cpu.tbs.backend.listing(code, ops)
    return [
        (ops[row.op].name, " ".join(row.text.split()[: 1 if "j" in row.text[:1] else None]))
        for row in rows
        if row.text[:3] not in ("nop", "cal") and "rip" not in row.text
    ]


@native
def test_without_tracing_there_is_nothing_of_it():
    """Not one instruction; with it, only what stands behind the check is added."""
    for name in ("crc", "syscalls"):
        plain, events = (ran(name, backend="x86_64", trace=trace) for trace in (None, "events"))
        assert plain._cpu.cflags == events._cpu.cflags
        for a, b in zip(plain.tbs, events.tbs, strict=True):
            assert (a.pc, a.host_size) == (b.pc, b.host_size)
            assert [r.text for r in a.host if r.text[:3] not in ("mov", "jmp") and r.text[0] != "j"
                    and not r.text.startswith("call")] == [
                r.text for r in b.host if r.text[:3] not in ("mov", "jmp") and r.text[0] != "j"
                and not r.text.startswith("call")]  # fmt: skip
        for tb in list(plain._cpu.tbs.by_number.values()):
            off = listed(plain, optimize(retranslate(tb).builder))
            for mode in (TRACE_BLOCKS, TRACE_TIMES):
                tb.cflags = tb.cflags & ~CF_TRACE_MASK | mode << CF_TRACE_SHIFT
                ops = optimize(retranslate(tb).builder)
                tb.cflags &= ~CF_TRACE_MASK
                on = listed(plain, ops)
                assert [row for row in on if row[0] != "trace_tb"] == off
                kinds = [op.name for op in ops]
                assert kinds.index("trace_tb") == kinds.index("exit_check") + 1
