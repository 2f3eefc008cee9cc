"""``-d`` logs: QEMU's layout, and, where QEMU is, QEMU's lines for the same guests."""

from __future__ import annotations

import io
import re
from typing import Any

import backends
import pytest
from engine_qemu import needs_qemu, run_qemu
from log_lines import LAYOUT, SAMPLES, essence, guest_code, item_of, without_vain_refusals

from tcglite import Machine, Mechanisms, guests
from tcglite.target.asm import assemble
from tcglite.trace.log import ITEMS

pytestmark = pytest.mark.usefixtures("backend")


def log_of(guest: Any, *items: str, max_insns: int | None = None, **options: Any) -> str:
    """The log of a run, up to ``max_insns``."""
    out = io.StringIO()
    with Machine(guest, backend=backends.chosen, **options) as m:
        m.set_log(items, out)
        if m.clock.now() == 0 and options.get("icount") is not None:
            m.clock.warp(6 << options["icount"])  # QEMU's boot ROM is six instructions
        m.run(max_insns=max_insns, timeout=60)
    return out.getvalue()


# Layout.


@pytest.mark.parametrize("item", LAYOUT)
def test_the_patterns_know_qemus_lines(item):
    for line in SAMPLES[item].splitlines():
        assert item_of(line.rstrip(), (item,)) == item, line
    assert item_of("something else entirely", (item,)) is None


@pytest.mark.parametrize("item", LAYOUT)
@pytest.mark.parametrize("name", ["hello", "fault", "selfmod", "fpu_off", "matmul"])
def test_our_lines_have_qemus_layout(name, item):
    log = log_of(guests.load(name), item, max_insns=20_000)
    unknown = [line for line in log.splitlines() if item_of(line, (item,)) is None]
    assert not unknown, unknown[:5]
    assert log or name in ("hello", "selfmod", "matmul")


def test_all_items_together():
    """Nothing but what the items say, each block's forms in the order in which they came to be."""
    items = ("in_asm", "op", "op_opt", "out_asm", "exec", "int")
    log = log_of(guests.load("fault"), *items)
    kinds = [item_of(line, items) for line in log.splitlines() if line]
    assert None not in kinds
    heads = [
        line.split(":")[0].split()[0]
        for line in log.splitlines()
        if re.match(r"IN:|OP|OUT:|Trace", line)
    ]
    text = " ".join(heads)
    assert text.startswith("IN OP OP OUT Trace")
    assert "IN OP OP OUT Trace IN" in text
    assert not re.search(r"IN (?!OP OP OUT)", text)


def test_a_block_in_every_form():
    source = ".option norvc\n_start: addi a0, a0, 1\n lw a1, 0(sp)\n j _start\n"
    out = io.StringIO()
    with Machine(assemble(source), backend=backends.chosen) as m:
        m.cpu["sp"] = 0x8000_1000
        m.set_log(["in_asm", "out_asm", "exec"], out)
        m.run(max_insns=3)
        tb = next(iter(m.tbs))
        host = tb.host
    log = out.getvalue()
    assert log.startswith(
        "----------------\n"
        "IN: _start\n"
        "0x0000000080000000:  00150513          addi                    a0,a0,1\n"
        "0x0000000080000004:  00012583          lw                      a1,0(sp)\n"
        "0x0000000080000008:  ff9ff06f          j                       0x80000000\n"
        "\n"
        f"OUT: [size={tb.host_size}]\n"
        "  -- guest addr 0x0000000080000000 + tb prologue\n"
    )
    block = log.partition("OUT:")[2].partition("\n\n")[0]
    assert re.findall(r"guest addr 0x0*([0-9a-f]+)", block) == ["80000000", "80000004", "80000008"]
    assert len(re.findall("^0x", block, re.MULTILINE)) == len(host)
    assert sum(len(row.raw) // 2 or 1 for row in host) == tb.host_size
    assert re.search(
        r"^Trace 0: 0x[0-9a-f]+ \[0{16}/0000000080000000/00000033/[0-9a-f]{8}\] _start$",
        log,
        re.MULTILINE,
    )


def test_items_are_independent():
    """What is not asked for is not there; tracing need not be on."""
    assert set(LAYOUT) | {"nochain"} == set(ITEMS)
    for item in LAYOUT:
        others = tuple(i for i in LAYOUT if i != item)
        log = log_of(guests.load("syscalls"), *others)
        mine = [n for n in log.splitlines() if n and item_of(n, others) is None]
        assert not mine, mine[:3]
    assert log_of(guests.load("syscalls")) == ""


def test_nochain_shows_every_block_run():
    """Without goto_tb nothing is linked, and each block run has its line."""
    with Machine(guests.load("syscalls"), backend=backends.chosen, trace="blocks") as m:
        m.run(timeout=20)
        runs = [f"{e.pc:016x}" for e in m.events if type(e).__name__ == "BlockRun"]
    chained = essence(log_of(guests.load("syscalls"), "exec"))
    every = essence(log_of(guests.load("syscalls"), "exec", "nochain"))
    assert [line[1] for line in every if line[0] == "run"] == runs
    assert {line[0] for line in every} == {"run"}
    assert len([line for line in chained if line[0] == "run"]) < len(runs)
    assert any(line[0] == "link" for line in chained)


def test_another_log_takes_the_place_of_the_first():
    first, second = io.StringIO(), io.StringIO()
    with Machine(guests.load("fault"), backend=backends.chosen) as m:
        m.set_log(["exec", "int", "in_asm"], first)
        m.run(max_insns=200, timeout=20)
        before = first.getvalue()
        m.set_log(["int"], second)
        m.run(timeout=20)
    assert first.getvalue() == before
    assert {line.split(":")[0] for line in second.getvalue().splitlines()} == {
        "riscv_cpu_do_interrupt"
    }


def test_traps_have_qemus_names():
    log = log_of(guests.load("fault"), "int") + log_of(guests.load("timer"), "int")
    log += log_of(guests.load("syscalls"), "int") + log_of(guests.load("nested"), "int")
    assert set(re.findall(r"desc=(\S+)", log)) == {
        "fault_fetch", "fault_load", "fault_store", "illegal_instruction", "user_ecall",
        "m_software", "m_timer", "m_external",
    }  # fmt: skip


# Against QEMU: the same lines, but for host addresses, symbols, flags and cflags.

EXACT = [
    "hello",
    "masked",
    "syscalls",
    "illegal",
    "fpu_off",
    "fault",
    "selfmod",
    "doorbell",
    "vmexit",
]
LONG = ["crc", "sieve", "matmul", "quicksort", "dhry", "fib"]


def first_difference(ours: list[Any], theirs: list[Any]) -> str:
    for n, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        if a != b:
            return f"line {n}: {ours[max(0, n - 2) : n + 3]}, QEMU: {theirs[max(0, n - 2) : n + 3]}"
    return "" if len(ours) == len(theirs) else f"{len(ours)} lines, QEMU {len(theirs)}"


@needs_qemu
@pytest.mark.parametrize("chain", [True, False], ids=["chain", "nochain"])
@pytest.mark.parametrize("name", [*EXACT, "nested"])
def test_traps_and_blocks_as_in_qemu(name, chain, tmp_path):
    """Every Trace, Linking, Stopped and trap line, in order."""
    items = ["exec", "int"] + ["nochain"] * (not chain)
    run = run_qemu(guests.load(name), tmp_path, log=",".join(items))
    assert run.status == guests.info(name).exit_code
    ours, theirs = essence(log_of(guests.load(name), *items)), essence(run.log)
    assert len(theirs) > 6
    if name in ("nested", "vmexit"):
        # QEMU sets its flag also when one line falls while another is up, or is set once more,
        # and so refuses a block in vain. Ours is set when a line rises. On a slow computer,
        # vmexit's timer comes before it has gone to sleep, and its flag refuses a block.
        ours, theirs = (list(without_vain_refusals(lines)) for lines in (ours, theirs))
    assert not first_difference(ours, theirs)


@needs_qemu
@pytest.mark.parametrize("name", LONG)
def test_the_first_lines_of_a_long_run_as_in_qemu(name, tmp_path):
    run = run_qemu(guests.load(name), tmp_path, log="exec,int", limit=2 << 20)
    theirs = essence(run.log[: run.log.rindex("\n")])
    ours = essence(log_of(guests.load(name), "exec", "int", max_insns=120_000))
    while ours and ours[-1][0] != "refused":
        ours.pop()  # the limit refuses the last block
    count = min(len(ours) - 1, len(theirs))
    assert count > (10 if name == "sieve" else 2000)  # most of sieve is one block on its own
    assert not first_difference(ours[:count], theirs[:count])


@needs_qemu
@pytest.mark.parametrize("shift", [0, 7])
@pytest.mark.parametrize("name", [*EXACT, "nested", "wfi", "clockread", "timer", "roundrobin"])
def test_with_icount_as_in_qemu(name, shift, tmp_path):
    """Also the interrupts of the clock, at the same instruction. Not compared: which address a
    rewound access is printed with (7.2: its block's), the flag set in vain (as above), and that
    QEMU rewinds accesses to nowhere before they fault."""
    if shift == 0 and name in ("timer", "roundrobin"):
        pytest.skip("very long: one instruction takes a nanosecond")
    options = ["-icount", f"shift={shift},sleep=off"]
    long = name in ("timer", "roundrobin", "clockread")
    items = ["exec", "int"] + ["nochain"] * (not long)
    run = run_qemu(guests.load(name), tmp_path, *options, log=",".join(items), limit=3 << 20)
    theirs = essence(run.log[: run.log.rindex("\n")])
    ours = essence(log_of(guests.load(name), *items, icount=shift, max_insns=2_000_000))
    ours, theirs = (list(without_vain_refusals(lines)) for lines in (ours, theirs))
    if name == "fault":
        ours, theirs = ([n for n in lines if "cause" in n[0]] for lines in (ours, theirs))
    if long:
        count = min(len(ours), len(theirs)) - 1
        assert count > 100
        ours, theirs = ours[:count], theirs[:count]
        assert any("m_timer" in n[0] for n in theirs) or name == "clockread"
    assert not first_difference(ours, theirs)


@needs_qemu
@pytest.mark.parametrize("name", [*EXACT, *LONG])
def test_guest_code_as_in_qemu(name, tmp_path):
    """Address and bytes of every translated instruction, in order."""
    run = run_qemu(guests.load(name), tmp_path, log="in_asm")
    limit = 3_000_000 if name in LONG else None
    assert guest_code(log_of(guests.load(name), "in_asm", max_insns=limit)) == guest_code(run.log)


@needs_qemu
def test_qemus_own_lines_have_the_layout(tmp_path):
    """So that the patterns above are about QEMU, not about us."""
    items = ("in_asm", "op", "op_opt", "out_asm", "exec", "int")
    run = run_qemu(guests.load("fault"), tmp_path, log=",".join(items))
    unknown = [n for n in run.log.splitlines() if item_of(n.rstrip(), items) is None]
    assert not unknown, unknown[:5]


@needs_qemu
def test_a_wrong_engine_would_be_noticed(tmp_path):
    """With blocks of another length, and without precise restoring, the logs differ."""
    run = run_qemu(guests.load("fault"), tmp_path, log="exec,int,nochain")
    for mechanisms in (Mechanisms(max_block_insns=3), Mechanisms(restore=False)):
        log = log_of(guests.load("fault"), "exec", "int", "nochain", mechanisms=mechanisms,
                     max_insns=20_000)  # fmt: skip
        assert first_difference(essence(log), essence(run.log))
