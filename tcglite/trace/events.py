"""What happened, as typed values: the vocabulary of every log, picture and check.

Every event says which hart, how many guest instructions had retired since reset, at which host
time, and how many block records the ring held (``ring``: the total order between the events and
the blocks that chained code recorded by itself). QEMU has no such list; the nearest thing is its
``-d`` log items and trace-events files.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Common part. ``insns``: instructions retired before it (None with ``count=False``);
    ``time``: host seconds (``time.perf_counter``); ``ring``: block records written before it. What
    another thread does while host code runs is recorded when that has come by, with the numbers of
    then and its own time."""

    insns: int | None
    time: float
    ring: int
    hart: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockTranslated(Event):
    """``tb_gen_code`` made block number ``tb``; ``count`` is its number of guest instructions,
    ``full`` False when cflags limited it (a cut block); ``indirect``: it ends in goto_ptr."""

    tb: int
    pc: int
    count: int
    full: bool = True
    indirect: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRun(Event):
    """Block ``tb`` passed the check at its head. ``insns`` is the number before it ran;
    ``executed`` how many of its ``count`` instructions retired; ``entry`` how it was entered:
    "loop", "chain" (a patched jump) or "goto_ptr"."""

    tb: int
    pc: int
    count: int
    executed: int
    entry: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlocksLost(Event):
    """``count`` blocks ran here, from record number ``ring`` on, of which nothing more is known:
    the ring was overwritten before it was read. The events among them are kept and follow it in
    order, with further ``BlocksLost`` between them. Nobody emits it: the recorder puts it there
    when it is read. ``insns``: of the event before."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopExit(Event):
    """Host code came back to ``cpu_exec``. ``reason``: "slot" (a jump not patched yet, in
    ``slot``), "none" (exit_tb 0: main-loop work, or a failed goto_ptr), "refused" (the head
    check of ``tb`` refused it; nothing of it ran), "exception" (a helper unwound)."""

    reason: str
    tb: int | None
    slot: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Event):
    """The head check of ``tb`` refused it, none of its ``count`` instructions ran.
    ``cause``: "flag" (the exit flag) or "budget" (icount: the block does not fit)."""

    tb: int
    pc: int
    count: int
    cause: str = "flag"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPatched(Event):
    """``tb_add_jump``: slot ``slot`` of block ``src`` now jumps to block ``dst``."""

    src: int
    slot: int
    dst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainUnpatched(Event):
    """Slot ``slot`` of block ``src`` no longer jumps to ``dst``."""

    src: int
    slot: int
    dst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRaised(Event):
    """A device line changed: ``line`` ("mtip", "msip", "meip", "plic:10" …) to ``level``."""

    line: str
    level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagSet(Event):
    """The exit flag ("kick") was set; ``why``: "interrupt", "stop", "budget"."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagCleared(Event):
    """``cpu_handle_interrupt`` dropped the exit flag before looking at the requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterruptLooked(Event):
    """The loop looked at a pending request and could not take it: masked."""

    pending: int
    enabled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableChanged(Event):
    """mstatus.MIE or mie changed; ``enabled``: would an M interrupt enabled in mie be taken now;
    ``mie``: the mie register."""

    enabled: bool
    mie: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InterruptTaken(Event):
    """Trap entry for an interrupt. ``cause`` without the top bit; ``epc``: the instruction that
    would have run next; ``vector``: the handler."""

    cause: int
    epc: int
    vector: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionRaised(Event):
    """Trap entry for an exception. ``expected``: known at translation time (pc stored inline, a
    helper that does not return); else found by restoring from the host PC."""

    cause: int
    epc: int
    tval: int
    vector: int
    expected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrapReturn(Event):
    """mret executed: the hart continues at ``pc`` in privilege ``priv``."""

    pc: int
    priv: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRestored(Event):
    """``cpu_restore_state``: ``host_pc`` lies in block ``tb`` and means ``guest_pc``;
    ``undone``: instructions charged but not completed, the faulting one included."""

    tb: int
    host_pc: int
    guest_pc: int
    undone: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockInvalidated(Event):
    """Block ``tb`` was removed because guest bytes at ``addr`` (physical) changed."""

    tb: int
    addr: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlocksFlushed(Event):
    """All blocks were dropped (a switch changed, the buffer was full)."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IcountRefill(Event):
    """The budget was filled: ``low`` in the word that the head check tests, ``extra`` beside."""

    low: int
    extra: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineCut(Event):
    """Block ``tb`` of ``count`` instructions does not fit: its first ``keep`` become a block."""

    tb: int
    count: int
    keep: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IoRecompile(Event):
    """A device access at ``guest_pc`` in mid-block was rewound; it will run alone."""

    tb: int
    guest_pc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAccess(Event):
    """A load (``write`` False) or store of ``size`` bytes reached a device register."""

    device: str
    offset: int
    size: int
    value: int
    write: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Halted(Event):
    """wfi: the hart left the loop and sleeps; ``pc`` is already past the wfi."""

    pc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Woken(Event):
    """A request that is enabled in mie woke the hart."""

    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset(Event):
    """The hart starts at ``pc``."""

    pc: int


ALL = frozenset(
    kind for kind in vars().copy().values() if isinstance(kind, type) and issubclass(kind, Event)
)
