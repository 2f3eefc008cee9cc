"""Memory of the host: guard pages where they were asked for, tables at cache lines."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys

import pytest

from tcglite import Machine, guests
from tcglite.errors import UsageError
from tcglite.target.cpu import OFFSET_NEG, new_state
from tcglite.tcg import hostmem
from tcglite.tcg.env import CPUNeg
from tcglite.tcg.hostmem import PAGE, address_of, private_memory
from tcglite.tcg.x86_64.buffer import CodeBuffer, unsupported

guarded = pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="needs mprotect")


def test_entries_of_the_tables_lie_within_cache_lines():
    """TLB entries have 32 bytes; none may straddle two lines of 64."""
    for guard in (False, True) if sys.platform in ("linux", "darwin") else (False,):
        assert ctypes.addressof(new_state(guard)) % PAGE == 0
    for table in (CPUNeg.tlb, CPUNeg.jmp_cache):
        assert (OFFSET_NEG + table.offset) % 64 == 0


@pytest.mark.parametrize("guard", [False, pytest.param(True, marks=guarded)])
@pytest.mark.parametrize("size", [1, PAGE, PAGE + 1, 3 * PAGE])
def test_private_memory(size, guard):
    memory = private_memory(size, guard, huge=True)
    assert len(memory) == size
    assert bytes(memory[:]) == bytes(size)
    memory[size - 1] = 7
    assert memory[size - 1] == 7
    assert address_of(memory) % PAGE == 0
    pointer = (ctypes.c_char * size).from_buffer(memory)
    assert ctypes.addressof(pointer) == address_of(memory)


STRAY = """
import ctypes, sys
from tcglite import Machine, guests
from tcglite.target.cpu import CPURISCVState
from tcglite.tcg.hostmem import address_of, rounded
m = Machine(guests.load("hello"), memory="1M", guard=True, backend="auto")
m.run(timeout=20)
ram, env = address_of(m.memory.ram), ctypes.addressof(m._cpu.env)
places = {
    "none": ram, "before RAM": ram - 1, "after RAM": ram + (1 << 20), "before env": env - 8,
    "after env": env + rounded(ctypes.sizeof(CPURISCVState)),
}
if m.backend == "x86_64":
    buffer = m._cpu.tbs.backend.buffer
    places |= {"before code": buffer.base - 1, "after code": buffer.base + rounded(buffer.size)}
place = places[sys.argv[1]]
if sys.argv[2] == "w":
    ctypes.memset(place, 1, 1)
else:
    ctypes.string_at(place, 1)
print("nothing happened")
"""


@guarded
@pytest.mark.parametrize("access", ["r", "w"])
@pytest.mark.parametrize(
    "where",
    ["none", "before RAM", "after RAM", "before env", "after env", "before code", "after code"],
)
def test_who_strays_dies(where, access):
    if where.endswith("code") and unsupported():
        pytest.skip(unsupported())
    done = subprocess.run(
        [sys.executable, "-c", STRAY, where, access], capture_output=True, text=True, timeout=60
    )
    if where == "none":
        assert done.stdout == "nothing happened\n", done.stderr
    else:
        assert -done.returncode in (signal.SIGSEGV, signal.SIGBUS), done.stderr


@guarded
@pytest.mark.parametrize("kind", ["rwx", "dual", "plain"])
def test_guarded_code_buffers(kind):
    """They hold what was written, where it was written."""
    if kind != "plain" and unsupported():
        pytest.skip(unsupported())
    for guard in (False, True):
        buffer = CodeBuffer(3 * PAGE, kind, guard)
        buffer.write(8, bytes(range(16)))
        buffer.patch(12, -2)
        assert buffer.read(8, 8) == b"\0\1\2\3\xfe\xff\xff\xff"
        assert ctypes.string_at(buffer.base + 8, 8) == buffer.read(8, 8)
        buffer.write(3 * PAGE - 1, b"\xcc")
        assert ctypes.string_at(buffer.base + 3 * PAGE - 1, 1) == b"\xcc"


@guarded
@pytest.mark.parametrize("name", ["timer", "selfmod", "crc"])
def test_guests_notice_nothing(name):
    stories = []
    for guard in (False, True):
        with Machine(guests.load(name), guard=guard, icount=0, memory="1M") as m:
            result = m.run(max_insns=200_000, timeout=20)
            stories.append((result.reason, m.insns, m.console, m.memory[0x8000_0000:0x8010_0000]))
    assert stories[0] == stories[1]


def test_elsewhere_it_is_an_error(monkeypatch):
    monkeypatch.setattr(hostmem.sys, "platform", "win32")
    with pytest.raises(UsageError, match="guard=True works on Linux and macOS, not on win32"):
        Machine(guests.load("hello"), guard=True)
