"""The devices answer each access as QEMU's virt board does: ``hw_access.txt`` is the table.

``python tests/test_hw_qemu.py --record`` writes its answers anew from the QEMU installed here."""

from __future__ import annotations

import functools
import os
import re
import select
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tcglite.accel.memory import AddressSpace, MemTxError
from tcglite.hw.board import MIP_MEIP, MIP_MSIP, MIP_MTIP, VirtBoard
from tcglite.hw.clock import VirtualClock

TABLE = Path(__file__).with_name("hw_access.txt")
BASES = {"clint": 0x2000000, "plic": 0xC000000, "uart": 0x10000000, "finisher": 0x100000, "": 0}
MIP_BITS = {"msip": MIP_MSIP, "mtip": MIP_MTIP, "meip": MIP_MEIP}
QEMU = shutil.which("qemu-system-riscv64")

TYPE_TICKS = 2_000_000      # how long typed bytes may take to arrive in QEMU: 0.2 s


@dataclass(frozen=True)
class Step:
    """One line of the table, or one size of a line with ``*``."""

    text: str                # the line without its answer
    op: str                  # r, w, settle, type, raise, lower
    size: int = 0
    address: int = 0
    value: int = 0
    mask: int = (1 << 64) - 1
    typed: bytes = b""
    starred: bool = False


def parse_step(text: str) -> list[Step]:
    word, *rest = text.split()
    if word in ("settle", "raise", "lower"):
        return [Step(text, word, value=int(rest[0]))]
    if word == "type":
        return [Step(text, word, value=TYPE_TICKS, typed=rest[0].encode())]
    device, _, offset = rest[0].rpartition("+")
    step = Step(text, word[0], address=BASES[device] + int(offset, 16), starred=word[1] == "*")
    if word[0] == "w":
        step = replace(step, value=int(rest[1], 16))
    elif len(rest) == 3:
        step = replace(step, mask=int(rest[2], 16))
    sizes = [s for s in (1, 2, 4, 8) if step.address % s == 0]
    return [replace(step, size=s) for s in (sizes if step.starred else [int(word[1])])]


def table() -> dict[str, list[tuple[list[Step], str]]]:
    """Section -> lines: (its steps, its answer)."""
    sections: dict[str, list[tuple[list[Step], str]]] = {}
    lines = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\[(.*)\]", line):
            lines = sections[match[1]] = []
        elif line and not line.startswith("#"):
            text, _, answer = line.partition("->")
            lines.append((parse_step(text.strip()), answer.strip()))
    return sections


def steps_of(section: str) -> list[Step]:
    return [step for steps, _ in table()[section] for step in steps]


Result = tuple[str, int]     # ("ok" | "fault" | hex value, mip)


def answers(section: str, results: list[Result]) -> list[str]:
    """One answer per line of the section, in the table's form."""
    out, rest = [], iter(results)
    for steps, _ in table()[section]:
        found = [next(rest) for _ in steps]
        if steps[0].starred:
            out.append(" ".join(value for value, _ in found))
        else:
            (value, mip), = found
            out.append(" ".join([value, *(n for n, bit in MIP_BITS.items() if mip & bit)]))
    return out


# -- tcglite ----------------------------------------------------------------------------------

class HandClock(VirtualClock):
    """Time that the test moves."""

    ns = 0

    def now(self) -> int:
        return self.ns

    def reset(self) -> None:
        self.ns = 0

    def advance(self, ns: int) -> None:
        self.ns += ns
        self.run_due()


class Model:
    """tcglite's board and a hart that does single accesses."""

    def __init__(self) -> None:
        self.memory = AddressSpace(4096)
        self.clock = HandClock()
        self.lock = threading.RLock()
        self.mip = 0
        self.exits: list[tuple[str, int]] = []
        self.board = VirtBoard(self.memory, self.clock, self.lock, self.set_mip,
                               lambda *exit: self.exits.append(exit), lambda *line: None)

    def set_mip(self, mask: int, level: int) -> None:
        self.mip = self.mip | mask if level else self.mip & ~mask

    def access(self, step: Step) -> str:
        found = self.memory.find(step.address, step.size)
        if found is None:
            return "fault"
        device, offset = found
        try:
            if step.op == "r":
                return hex(device.read(offset, step.size) & step.mask)
            device.write(offset, step.size, step.value & (1 << 8 * step.size) - 1)
        except MemTxError:
            return "fault"
        return "ok"

    def run(self, step: Step) -> Result:
        result = "ok"
        if step.op in "rw":
            result = self.access(step)
        elif step.op == "raise":
            self.board.set_irq(f"plic:{step.value}", 1)
        elif step.op == "lower":
            self.board.set_irq(f"plic:{step.value}", 0)
        else:
            if step.op == "type":
                self.board.uart.write(0, 1, ord("!"))
                self.board.uart.type(step.typed)
            self.clock.advance(step.value * 100)
        return result, self.mip


@pytest.mark.parametrize("section", table())
def test_answers_as_in_the_table(section: str):
    model = Model()
    got = answers(section, [model.run(step) for step in steps_of(section)])
    for (steps, wanted), answer in zip(table()[section], got, strict=True):
        assert f"{steps[0].text} -> {answer}" == f"{steps[0].text} -> {wanted}"


# -- QEMU -------------------------------------------------------------------------------------

LINKER_SCRIPT = "ENTRY(_start) SECTIONS { . = 0x80000000; .all : { *(.text) *(.data) *(.bss) } }"
STEPS_AT, RESULTS_AT = 0x80200000, 0x80300000
PROBE = """
_start: la      t0, trap
        csrw    mtvec, t0
        csrw    mie, zero
        li      s0, 0x80200000          # steps: 24 bytes each, what, address, value
        li      s1, 0x80300000          # results: 24 bytes each, value, mcause, mip
step:   ld      s2, 0(s0)
        ld      s3, 8(s0)
        ld      s4, 16(s0)
        li      s5, 0
        li      s6, 0
        slli    s2, s2, 3
        la      t0, table
        add     t0, t0, s2
        ld      t0, 0(t0)
        jr      t0
r1:     lbu     s6, 0(s3)
        j       next
r2:     lhu     s6, 0(s3)
        j       next
r4:     lwu     s6, 0(s3)
        j       next
r8:     ld      s6, 0(s3)
        j       next
w1:     sb      s4, 0(s3)
        j       next
w2:     sh      s4, 0(s3)
        j       next
w4:     sw      s4, 0(s3)
        j       next
w8:     sd      s4, 0(s3)
        j       next
type:   li      t0, 0x10000000
        li      t1, '!'
        sb      t1, 0(t0)
settle: li      t0, 0x200bff8
        ld      t1, 0(t0)
        add     t1, t1, s4
1:      ld      t2, 0(t0)
        bltu    t2, t1, 1b
        j       next
raise:  li      t0, 0x101000            # the alarm of the RTC, long past
        li      t1, 1
        sw      t1, 0x10(t0)
        sw      zero, 0x0c(t0)
        sw      t1, 0x08(t0)
        j       next
lower:  li      t0, 0x101000
        sw      t0, 0x1c(t0)
next:   csrr    t0, mip
        sd      s6, 0(s1)
        sd      s5, 8(s1)
        sd      t0, 16(s1)
        addi    s0, s0, 24
        addi    s1, s1, 24
        j       step
        .balign 4
trap:   csrr    s5, mcause
        la      t0, next
        csrw    mepc, t0
        mret
end:    li      s2, 0x10000000          # make the UART fit to print again
        sb      zero, 3(s2)
        sb      zero, 1(s2)
        sb      zero, 4(s2)
        li      t0, '='
        sb      t0, 0(s2)
        li      s3, 0x80300000
print:  bgeu    s3, s1, finish
        ld      s4, 0(s3)
        addi    s3, s3, 8
        li      s5, 60
digit:  srl     t0, s4, s5
        andi    t0, t0, 15
        li      t1, 10
        bltu    t0, t1, 1f
        addi    t0, t0, 39
1:      addi    t0, t0, 48
        sb      t0, 0(s2)
        addi    s5, s5, -4
        bgez    s5, digit
        li      t0, 10
        sb      t0, 0(s2)
        j       print
finish: li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
        j       finish
        .balign 8
table:  .dword  end, r1, r2, r4, r8, w1, w2, w4, w8, settle, type, raise, lower
"""
CODES = {"r1": 1, "r2": 2, "r4": 3, "r8": 4, "w1": 5, "w2": 6, "w4": 7, "w8": 8,
         "settle": 9, "type": 10, "raise": 11, "lower": 12}


@functools.cache
def qemu_version() -> str:
    out = subprocess.run([QEMU or "", "--version"], capture_output=True, text=True, timeout=30)
    match = re.search(r"version (\d+\.\d+)", out.stdout)
    return match[1] if match else "?"


def build_probe(folder: Path) -> Path:
    source, script, elf = folder / "probe.S", folder / "probe.ld", folder / "probe.elf"
    source.write_text(".option norelax\n.globl _start\n" + PROBE)
    script.write_text(LINKER_SCRIPT)
    env = dict(os.environ, ZIG_GLOBAL_CACHE_DIR=str(folder), ZIG_LOCAL_CACHE_DIR=str(folder))
    subprocess.run([sys.executable, "-m", "ziglang", "cc", "-target", "riscv64-freestanding-none",
                    "-mcpu=generic_rv64+m+a+c", "-nostdlib", "-T", script, "-o", elf, source],
                   check=True, env=env, timeout=120)
    return elf


def qemu(elf: Path, folder: Path, steps: list[Step]) -> tuple[bytes, int]:
    """Run the steps in QEMU: (what it printed, exit status). Types at each "!" that it prints."""
    image = folder / "steps.bin"
    image.write_bytes(b"".join(
        struct.pack("<3Q", CODES[s.op + (str(s.size) if s.size else "")], s.address, s.value)
        for s in steps) + bytes(24))
    process = subprocess.Popen(
        [QEMU or "", "-M", "virt", "-bios", "none", "-no-reboot",
         "-display", "none", "-monitor", "none", "-serial", "stdio", "-kernel", elf,
         "-device", f"loader,file={image},addr={STEPS_AT:#x},force-raw=on"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    typing = iter([s.typed for s in steps if s.op == "type"])
    printed, deadline = b"", time.monotonic() + 60
    with process:
        try:
            while select.select([process.stdout], [], [], deadline - time.monotonic())[0]:
                piece = os.read(process.stdout.fileno(), 65536)
                if not piece:
                    break
                for _ in range(piece.count(b"!")):
                    process.stdin.write(next(typing))
                    process.stdin.flush()
                printed += piece
            return printed, process.wait(max(1, deadline - time.monotonic()))
        finally:
            process.kill()


def run_in_qemu(elf: Path, folder: Path, steps: list[Step]) -> Iterator[Result]:
    printed, status = qemu(elf, folder, steps)
    assert status == 0, (status, printed)
    words = [int(word, 16) for word in printed.partition(b"=")[2].split()]
    assert len(words) == 3 * len(steps), printed
    for i, step in enumerate(steps):
        value, cause, mip = words[3 * i:3 * i + 3]
        if cause:
            assert cause == {"r": 5, "w": 7}[step.op], (step, cause)
            yield "fault", mip
        else:
            yield hex(value & step.mask) if step.op == "r" else "ok", mip


needs_qemu = [
    pytest.mark.skipif(QEMU is None, reason="qemu-system-riscv64 is not installed"),
    pytest.mark.skipif(bool(QEMU) and not qemu_version().startswith("7."),
                       reason="the table holds for QEMU 7.2; later ones differ in the PLIC"),
]


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("ziglang")
    return build_probe(tmp_path_factory.mktemp("probe"))


class TestAgainstQemu:
    pytestmark = needs_qemu

    @pytest.mark.parametrize("section", table())
    def test_same_answers(self, section: str, probe: Path, tmp_path: Path):
        steps, model = steps_of(section), Model()
        ours = [model.run(step) for step in steps]
        theirs = run_in_qemu(probe, tmp_path, steps)
        lines = (line[0].text for line, _ in table()[section])
        for text, mine, other in zip(lines, answers(section, ours),
                                     answers(section, list(theirs)), strict=True):
            assert f"{text} -> {mine}" == f"{text} -> {other}"

    @pytest.mark.parametrize("store", [
        "w4 finisher+0x0 0x5555", "w2 finisher+0x0 0x5555", "w4 finisher+0x0 0x15555",
        "w4 finisher+0x0 0x3333", "w4 finisher+0x0 0x2a3333", "w4 finisher+0x0 0xffff3333",
        "w4 finisher+0x0 0x1013333", "w2 finisher+0x0 0x3333", "w4 finisher+0x0 0x17777"])
    def test_the_finisher_ends_both(self, store: str, probe: Path, tmp_path: Path):
        steps, model = parse_step(store), Model()
        printed, status = qemu(probe, tmp_path, steps)
        assert printed == b""
        assert model.run(steps[0])[0] == "ok"
        assert [code & 0xFF for _, code in model.exits] == [status]


def record() -> None:
    """Print the table with the answers of the QEMU installed here."""
    import tempfile
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        elf = build_probe(folder)
        out: list[str] = []
        got: Iterator[str] = iter(())
        for line in TABLE.read_text(encoding="utf-8").splitlines():
            if match := re.fullmatch(r"\[(.*)\]", line):
                section = match[1]
                got = iter(answers(section, list(run_in_qemu(elf, folder, steps_of(section)))))
            elif line and not line.startswith("#"):
                line = f"{line.partition('->')[0].strip():<40} -> {next(got)}"
            out.append(line)
    TABLE.write_text("\n".join(out) + "\n", encoding="utf-8")


if __name__ == "__main__" and "--record" in sys.argv:
    record()
