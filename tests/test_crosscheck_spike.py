"""tcglite beside Spike: what is equal is found equal, and what is planted is found and named."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from array import array
from collections.abc import Callable, Iterable
from dataclasses import replace

import backends
import pytest
import random_code
import trap_table
import trap_table_memory
from trap_probe import build

from tcglite import Machine, Mechanisms, guests
from tcglite.accel.memory import AddressSpace
from tcglite.crosscheck.follow import Follower, check_guest, grained
from tcglite.crosscheck.oracle import INTERRUPT, Diverged, Piece, State, Trap
from tcglite.target.asm import assemble
from tcglite.target.cpu import PRV_M, CPURISCVState

pytest.importorskip("riscv")
from tcglite.crosscheck.spike import SpikeOracle
from tcglite.crosscheck.spike_hart import MSTATUS, PMPCFG0, SpikeHart

BACKENDS = [b for b, missing in backends.MISSING.items() if not missing]
FAST = BACKENDS[-1]
RAM = 0x8000_0000
WORD = {name: getattr(CPURISCVState, name).offset // 8 for name, *_ in CPURISCVState._fields_}
MTVEC, NOP = 0x8000_0100, 0x13

Change = Callable[[int, Piece], None]


class Liar(SpikeOracle):
    """Changes what it is told of tcglite."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change, self.told = change, 0

    def follow(self, piece: Piece) -> None:
        self.told += 1
        self.change(self.told, piece)
        super().follow(piece)


def drive(oracle: SpikeOracle, program, grain: str = "insn", memory: str = "64K", **options):
    """Run it beside the oracle; the divergence, or None."""
    with Machine(program, memory=memory, backend=FAST, trace="blocks",
                 mechanisms=grained(Mechanisms(), grain), **options) as m:  # fmt: skip
        m.recorder.mode = None
        m.inputs_open = lambda: False
        follower = Follower(m, [oracle], grain)
        try:
            m.run(max_insns=20_000, timeout=20)
            follower.finish(m)
        except Diverged as found:
            return found.divergence
    return None


def program(text: str):
    return assemble("_start:\n" + text + "\nend: li t0, 0x100000\n li t1, 0x5555\n sw t1, 0(t0)\n")


LOOP = program("li a0, 40\n la a1, data\n1: addi a0, a0, -1\n sd a0, 0(a1)\n bnez a0, 1b\n"
               "j end\n.balign 8\ndata: .dword 0\n")  # fmt: skip


@pytest.mark.parametrize("grain", ["piece", "block", "insn"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_guests_agree(backend, grain):
    limit = 20_000 if backend == "x86_64" and grain == "piece" else 3_000
    for name in guests.names():
        report = check_guest(
            name, ("spike",), backend=backend, grain=grain, max_insns=limit, memory="1M"
        )[-1]
        assert report.ok, report.text()


def test_interrupts_agree():
    for name in ("echo", "nested", "masked", "wfi", "doorbell"):
        report = check_guest(name, ("spike",), backend=FAST, memory="1M")[-1]
        assert report.ok, report.text()
        assert report.counts["interrupts"], report.text()


def test_every_probe_agrees():
    """CSRs, traps of every kind, U mode, memory, fetches, interrupts, floating point."""
    probes = [
        *trap_table.REGISTERS, *trap_table.MTVEC, *trap_table.OPERATIONS, *trap_table.MISSING,
        *trap_table.ILLEGALS, *trap_table.TRAPS, *trap_table.USER, *trap_table_memory.ACCESSES,
        *trap_table_memory.RAM_EDGE, *trap_table_memory.FETCHES, *trap_table_memory.INTERRUPTS,
        *trap_table_memory.FLOATS, *trap_table.LAST,
    ]  # fmt: skip
    report = check_guest(build(probes), ("spike",), backend=FAST, grain="block", memory="64M")[-1]
    assert report.ok, report.text()
    for name in ("mtvec-mode", "mstatus-mpp", "ebreak-mtval", "misaligned-atomic", "partial-store",
                 "fp-arithmetic", "csr-missing", "csr-identity", "csr-time", "csr-mip", "csr-hpm",
                 "csr-warl"):  # fmt: skip
        assert report.notes[name], name


@pytest.mark.parametrize("grain", ["block", "insn"])
def test_random_programs_agree_on_one_spike(grain):
    """Also that code which changes from program to program is not remembered."""
    oracle = SpikeOracle()
    for seed in range(60):
        rng = random.Random(seed)
        kind = rng.choice((random_code.noise, random_code.valid, random_code.writing))
        image = kind(rng)
        with Machine(image, memory=random_code.SIZE, backend=FAST, trace="blocks",
                     mechanisms=grained(Mechanisms(), grain)) as m:  # fmt: skip
            m.recorder.mode = None
            m.inputs_open = lambda: False
            for line in ("msip", "mtip", "meip"):
                m.raise_at(rng.randrange(1, 1500), line)
            follower = Follower(m, [oracle], grain)
            m.run(max_insns=1500, timeout=20)
            follower.finish(m)
    assert oracle.counts["interrupts"] > 100
    assert oracle.counts["exceptions"] > 100
    assert oracle.counts["memories"] == 60


# A check must be able to fail.


def plant(at: int, index: int) -> Change:
    def change(told: int, piece: Piece) -> None:
        if told == at:
            piece.after = words(w ^ 8 * (n == index) for n, w in enumerate(piece.after.words))

    return change


@pytest.mark.parametrize("grain", ["piece", "block", "insn"])
@pytest.mark.parametrize(
    ("what", "index"),
    [("a0", 10), ("pc", WORD["pc"]), ("mstatus", WORD["mstatus"]), ("mscratch", WORD["mscratch"]),
     ("ft1", 33), ("mepc", WORD["mepc"]), ("privilege", WORD["priv"]),
     ("minstret", WORD["minstret_offset"]), ("fcsr", WORD["fcsr"])],
)  # fmt: skip
def test_a_wrong_register_is_named(grain, what, index):
    at = {"piece": 1, "block": 4, "insn": 6}[grain]  # the insn is the bnez, which ends a block
    found = drive(Liar(plant(at, index)), LOOP, grain)
    assert found is not None
    assert found.what == what


def test_a_wrong_result_is_named_at_once():
    found = drive(Liar(plant(4, 10)), LOOP)  # the addi
    assert found is not None
    assert (found.what, found.since, found.until) == ("a0", 3, 4)


def test_a_wrong_word_of_memory_is_named():
    class Spoiled(SpikeOracle):
        def finish(self, memory, piece):
            memory.ram[0x8123] ^= 1
            super().finish(memory, piece)

    found = drive(Spoiled(), LOOP)
    assert found is not None
    assert found.what == "memory at 0x80008123"


@pytest.mark.parametrize("field", ["addr", "value", "size", "none", "more"])
def test_a_wrong_device_access_is_named(field):
    def change(told: int, piece: Piece) -> None:
        if piece.accesses:
            first = piece.accesses[0]
            if field == "none":
                piece.accesses.clear()
            elif field == "more":
                piece.accesses.append(first)
            else:
                piece.accesses[0] = replace(first, **{field: getattr(first, field) + 1})

    text = "li a0, 0x10000000\n lbu a1, 5(a0)\n li a2, 65\n sb a2, 0(a0)\n"
    assert drive(SpikeOracle(), program(text)) is None
    found = drive(Liar(change), program(text))
    assert found is not None
    assert found.what in ("device access", "a1")


TRAP = program("la t0, handler\n csrw mtvec, t0\n .word 0\n j end\n"
               ".balign 4\nhandler: csrr t1, mepc\n addi t1, t1, 4\n csrw mepc, t1\n mret\n"
               )  # fmt: skip


@pytest.mark.parametrize(("field", "value"), [("mcause", 3), ("epc", 8), ("tval", 1)])
def test_a_wrong_trap_is_named(field, value):
    def change(told: int, piece: Piece) -> None:
        if piece.trap is not None:
            piece.trap = replace(piece.trap, **{field: value})

    assert drive(SpikeOracle(), TRAP) is None
    found = drive(Liar(change), TRAP)
    assert found is not None
    assert found.what == "trap"


def words(values: Iterable[int]) -> State:
    """A state of these."""
    return State(memoryview(array("Q", values)))


def standing(**fields: int) -> State:
    """M mode at the base of RAM, but for these fields."""
    state = words([0] * WORD["neg"])
    for name, value in {"priv": PRV_M, "pc": RAM, "mtvec": MTVEC, "mstatus": 2 << 32,
                        "load_res": (1 << 64) - 1, **fields}.items():  # fmt: skip
        state.words[WORD[name]] = value
    return state


def interrupt(number: int, before: State, mip: int) -> Piece:
    """What tcglite does when it takes that interrupt in M or U mode."""
    after = words(before.words)
    status = before["mstatus"]
    status = status & ~0x1888 | (status & 8) << 4 | before["priv"] << 11
    for name, value in {"pc": MTVEC, "mcause": INTERRUPT | number, "mepc": before["pc"],
                        "mip": mip, "mstatus": status, "priv": PRV_M}.items():  # fmt: skip
        after.words[WORD[name]] = value
    return Piece(10, 10, before, after, [], Trap(INTERRUPT | number, before["pc"], 0))


def take(number: int, mip: int, **fields: int) -> str:
    """An empty text if Spike takes it too, else what it says."""
    oracle, memory = SpikeOracle(), AddressSpace(1 << 16)
    memory.ram[:8] = NOP.to_bytes(4, "little") * 2
    before = standing(**fields)
    oracle.begin(before, memory)
    try:
        oracle.follow(interrupt(number, before, mip))
    except Diverged as found:
        return found.divergence.what
    return ""


M_ON, ALL = 2 << 32 | 8, 0x888


@pytest.mark.parametrize("number", [3, 7, 11])
def test_an_interrupt_is_taken_only_if_enabled(number):
    line = 1 << number
    assert take(number, line, mstatus=M_ON, mie=ALL) == ""
    assert take(number, line, priv=0, mie=line) == ""
    assert take(number, line, mstatus=M_ON, mie=ALL & ~line) == "interrupt"
    assert take(number, line, mie=ALL) == "interrupt"  # masked in M mode
    assert take(number, ALL & ~line, mstatus=M_ON, mie=ALL) == "interrupt"  # not pending
    assert take(number, 0, mstatus=M_ON, mie=ALL) == "interrupt"


def test_the_order_of_interrupts_is_checked():
    assert take(11, ALL, mstatus=M_ON, mie=ALL) == ""
    assert take(3, 0x88, mstatus=M_ON, mie=ALL) == ""
    for number in (3, 7):
        assert take(number, ALL, mstatus=M_ON, mie=ALL) == "interrupt"
    assert take(7, 0x88, mstatus=M_ON, mie=ALL) == "interrupt"


# One Spike for many programs.


def test_any_state_can_be_begun_with():
    oracle, memory, rng = SpikeOracle(), AddressSpace(1 << 16), random.Random(1)
    for _ in range(50):
        state = standing(priv=rng.choice((0, 3)), mepc=rng.getrandbits(63) * 2, mie=rng.choice(
            (0, 8, ALL)), mcause=rng.getrandbits(64), fcsr=rng.getrandbits(8), pc=RAM + 64,
            mscratch=rng.getrandbits(64), mstatus=M_ON | rng.choice((0, 1, 3)) << 13)  # fmt: skip
        for n in [*range(1, 32), *range(32, 64)]:
            state.words[n] = rng.getrandbits(64)
        memory.ram[:] = rng.randbytes(1 << 16)
        memory.ram[64:68] = NOP.to_bytes(4, "little")
        oracle.begin(state, memory)
        after = words(state.words)
        after.words[WORD["pc"]] += 4
        piece = Piece(5, 6, state, after)
        oracle.follow(piece)
        oracle._compare(piece)
        oracle.finish(memory, piece)


def test_code_that_has_changed_is_what_runs():
    """The same addresses, other instructions, without a fence.i in between."""
    oracle = SpikeOracle()
    for value in (1, 2, 3):
        text = f"li a0, 100\n1: addi a0, a0, -1\n bnez a0, 1b\n addi a1, a1, {value}\n"
        assert drive(oracle, program(text), "block") is None


def test_code_changed_by_a_store():
    text = (
        "la a0, here\n li a1, 0x00200613\n li a3, 2\nagain: j here\n.balign 4\n"
        "here: addi a2, zero, 1\n sw a1, 0(a0)\n addi a3, a3, -1\n bnez a3, again\n"
    )
    for grain in ("piece", "block", "insn"):
        assert drive(SpikeOracle(), program(text), grain) is None


def test_the_flush_makes_new_code_visible():
    """What ``flush`` relies on: writing to the PMP empties Spike's instruction cache."""
    memory = AddressSpace(1 << 12)
    hart = SpikeHart(memory, lambda addr, size: 0, lambda addr, size, value: None)
    hart.reset()
    for value, flushed in ((1, True), (2, False), (3, True)):
        hart.write(RAM, 4, value << 20 | 0x513)  # addi a0, zero, value
        if flushed:
            hart.flush()
        hart.state.pc = RAM
        hart.p.step(1)
        assert hart.x[10] == (value if flushed else 1)
    assert hart.p.get_csr(PMPCFG0)  # all is allowed


def test_state_that_the_package_cannot_set():
    hart = SpikeHart(AddressSpace(1 << 12), lambda a, s: 0, lambda a, s, v: None)
    hart.reset()
    for mip in (0x8, 0x80, 0x800, 0x888, 0):
        hart.set_lines(mip)
        assert hart.p.get_csr(0x344) == mip
    values = [n * 0x0101_0101_0101_0101 for n in range(32)]
    hart.write_f(values)
    assert list(hart.read_f()) == values
    hart.set_counters(7, 9)
    hart.state.pc = RAM
    status = hart.p.get_csr(MSTATUS)
    hart.set_privilege(0)
    assert (hart.state.prv, hart.state.pc, hart.p.get_csr(MSTATUS)) == (0, RAM, status)
    assert [hart.p.get_csr(n) for n in (0xB02, 0xB00)] == [7, 9]


# Devices in ways that the two see differently; each by its name.

#: The handler goes on behind what trapped, or at the end if that is not in RAM.
_REST = """
        j end
        .balign 8
data:   .dword 5
        .balign 4
handler: la t1, end
        csrr t2, mepc
        srli t2, t2, 31
        beqz t2, 1f
        csrr t1, mepc
        addi t1, t1, 4
1:      csrw mepc, t1
        mret
"""


@pytest.mark.parametrize(
    ("note", "text"),
    [
        ("misaligned-device", "li a0, 0x2004002\n lw a1, 0(a0)\n ld a2, 3(a0)\n"),
        ("misaligned-device", "li a0, 0x2004002\n li t0, 0x2000\n csrs mstatus, t0\n"
         " fld fa1, 0(a0)\n flw fa2, 0(a0)\n"),
        ("device-refuses", "li a0, 0x2000000\n lb a1, 8(a0)\n ld a1, 8(a0)\n sd a1, 16(a0)\n"),
        ("device-lr", "li a0, 0x2004000\n lr.d a1, (a0)\n lr.w a2, (a0)\n"),
        ("device-lr", "li a0, 0x2004000\n sc.d a1, a1, (a0)\n"),
        ("device-lr", "li a0, 0x2004000\n lr.d a1, (a0)\n sc.d a2, a1, (a0)\n sc.d a1, a1, (a0)"),
        ("reservation", "la a0, data\n lr.d a1, (a0)\n addi a2, a1, 1\n sd a2, 0(a0)\n"
         " sc.d a3, zero, (a0)\n"),
        ("reservation", "la a0, data\n lr.d a1, (a0)\n addi a2, a1, 1\n sd a2, 0(a0)\n"
         " sc.d zero, zero, (a0)\n"),
        ("csr-pmp", "li a0, -1\n csrw pmpaddr0, a0\n csrr a1, pmpaddr0\n csrwi pmpcfg0, 15\n"),
        ("csr-missing", "csrr a0, tselect\n csrr a0, pmpaddr16\n"),
        ("device-fetch", "li a0, 0x10000000\n jr a0\n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("grain", ["block", "insn"])
def test_documented_differences(note, text, grain):
    start = "la t0, handler\n csrw mtvec, t0\n"
    oracle = SpikeOracle()
    assert drive(oracle, program(".option norvc\n" + start + text + _REST), grain) is None
    assert oracle.notes[note]


@pytest.mark.parametrize("grain", ["piece", "block", "insn"])
def test_a_device_over_ram(grain):
    """HTIF: words of RAM that are a device here."""
    oracle = SpikeOracle()
    guest = assemble("""
_start: la a0, tohost
        li a1, 0x0101000000000041
        sd a1, 0(a0)
        la a2, fromhost
        ld a3, 0(a2)
        sd zero, 0(a2)
        ld a4, 0(a2)
        li a1, 1
        sd a1, 0(a0)
1:      j 1b
        .balign 64
tohost: .dword 0
        .balign 64
fromhost: .dword 0
""")
    assert drive(oracle, guest, grain) is None
    assert oracle.notes["device-over-ram"] == 5


def test_an_encoding_that_reaches_out_of_ram():
    """Of 48 bits or more, in the last word of RAM."""
    text = "li a0, 0x8000fffc\n li a1, 0x020043bf\n sw a1, 0(a0)\n la t0, end\n csrw mtvec, t0\n"
    oracle = SpikeOracle()
    assert drive(oracle, program(text + " jr a0\n .balign 4")) is None
    assert oracle.notes["long-encoding"] == 1


def test_signals_are_left_alone():
    """Spike installs handlers of its own for Ctrl-C; they must not stay."""
    SpikeHart(AddressSpace(1 << 12), lambda a, s: 0, lambda a, s, v: None)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_without_the_package():
    """Importing works; using says what to install."""
    code = (
        "import sys; sys.modules['riscv'] = None\n"
        "from tcglite.crosscheck.spike import SpikeOracle\n"
        "from tcglite.errors import TcgliteError\n"
        "try: SpikeOracle()\n"
        "except TcgliteError as error: print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'tcglite[oracle]'" in out.stdout
