"""Engines side by side on the same ELF files: how long to run, in which order, which ratios.

How often a workload does its work is found by trying: so often that the fastest engine takes the
asked CPU seconds. An engine that is ``NEAR`` times slower or worse would take for ever; such
engines run fewer rounds, as many as suit the fastest among them, and are compared per instruction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from statistics import median

from .. import __version__, guests
from ..errors import UnknownName, UsageError, shown, whole
from ..machine import Machine
from . import engines, table
from .engines import Contender, Run
from .measure import Series, geomean, interleave
from .workloads import NAMES, Workload

ENGINES = ("unicorn", "qemu")  #: what tcglite can be compared with
SECONDS = 2.5  #: CPU seconds of the fastest engine's run: start-up is below a tenth of that
NEAR = 60  #: engines run the same ELF file if none is more than so many times slower
ONCE = 8  #: what takes so many times as long as the fastest runs once only
MOST_SECONDS = 5.0  #: the slowest run still ends within ``engines.LIMIT``
START = "hello"  #: the guest whose run is all start-up

#: Time of one / time of the other; beside tcglite: above 1, tcglite is faster.
RATIOS = {
    "qemu": ("qemu chained", "tcglite chained"),
    "qemu_counting": ("qemu chained", "tcglite counting"),
    "qemu_icount": ("qemu icount", "tcglite icount"),
    "unicorn": ("unicorn", "tcglite chained"),
    "tcglite_counting_cost": ("tcglite counting", "tcglite chained"),
    "tcglite_icount_cost": ("tcglite icount", "tcglite chained"),
    "tcglite_nochain_cost": ("tcglite nochain", "tcglite chained"),
    "qemu_icount_cost": ("qemu icount", "qemu chained"),
    "qemu_nochain_cost": ("qemu nochain", "qemu chained"),
}
_LEFT_OUT = {
    "qemu": f"QEMU is left out: there is no {engines.QEMU} here; on Debian and Ubuntu: "
            "apt install qemu-system-misc",
    "unicorn": "Unicorn is left out: it is not installed here: pip install 'tcglite[crosscheck]'",
}

Say = Callable[[str], object]


@dataclass
class Figures:
    """One workload: for each contender ``rounds`` of the work, guest instructions (``insns``) of
    a run, CPU ``seconds`` of the runs; CPU µs of tcglite's translation for a guest instruction."""

    name: str
    rounds: dict[str, int]
    insns: dict[str, int]
    seconds: Series
    translation_us: float | None

    def speed(self, contender: str) -> float | None:
        """Million guest instructions per CPU second."""
        seconds = self.seconds.median(contender)
        return self.insns[contender] / seconds / 1e6 if seconds else None

    def ratio(self, key: str) -> float | None:
        """One of ``RATIOS``; of times per instruction, which for the same ELF are the times."""
        one, other = RATIOS[key]
        ratio = self.seconds.ratio(one, other)
        return None if ratio is None else ratio * self.insns[other] / self.insns[one]


@dataclass
class Comparison:
    """Everything that was found out. ``start``: CPU seconds of each contender's start-up."""

    backend: str
    repeat: int
    seconds: float
    names: list[str]
    start: dict[str, float]
    guests: list[Figures]
    versions: dict[str, str | None]
    notes: list[str] = field(default_factory=list)

    def geomean(self, key: str) -> float | None:
        """The geometric mean of one of ``RATIOS`` over the guests."""
        return geomean(g.ratio(key) for g in self.guests)

    def speed(self, contender: str) -> float | None:
        """The geometric mean of a contender's speeds over the guests, in M insn/s."""
        return geomean(g.speed(contender) for g in self.guests)

    @property
    def translation_us(self) -> float | None:
        """CPU µs to translate a guest instruction: the median over the guests."""
        known = [g.translation_us for g in self.guests if g.translation_us is not None]
        return median(known) if known else None


def compare(names: Iterable[str] = NAMES, *, against: Iterable[str] = ENGINES,
            backend: str = "auto", repeat: int = 3, seconds: float = SECONDS,
            say: Say = lambda text: None, warn: Say = lambda text: None) -> Comparison:
    """Measure tcglite's modes and the engines ``against``, interleaved, ``repeat`` times each.
    ``say`` is told in a few words what is going on, ``warn`` which engine is missing. Raises
    UnknownName, UsageError, GuestError, EngineError."""
    repeat = whole("repeat", repeat, 1, 1000)
    if not 0 < seconds <= MOST_SECONDS:
        raise UsageError(f"seconds={shown(seconds)}; expected CPU seconds, above 0, at most "
                         f"{MOST_SECONDS:g}")
    workloads = [Workload(name) for name in dict.fromkeys(names)]
    with Machine(guests.load(START), backend=backend) as machine:
        backend = machine.backend
    contenders = engines.tcglite(backend)
    notes = []
    for engine in dict.fromkeys(against):
        if engine not in ENGINES:
            raise UnknownName(f"unknown engine {engine!r}; expected {' or '.join(ENGINES)}")
        found = engines.qemu() if engine == "qemu" else engines.unicorn()
        contenders += found
        if not found:
            notes.append(_LEFT_OUT[engine])
            warn(notes[-1])
    start, figures = measure(workloads, contenders, repeat, seconds, say)
    taking_part = {c.name.split()[0] for c in contenders}
    versions = {"tcglite": __version__, "python": table.python_version(),
                "qemu": engines.qemu_version() if "qemu" in taking_part else None,
                "unicorn": table.package_version("unicorn") if "unicorn" in taking_part else None}
    return Comparison(backend, repeat, seconds, [c.name for c in contenders], start, figures,
                      versions, notes + remarks(start, figures))


def measure(workloads: Sequence[Workload], contenders: Sequence[Contender], repeat: int,
            seconds: float, say: Say) -> tuple[dict[str, float], list[Figures]]:
    """Start-up times, and the figures of each workload."""
    hello = guests.load(START)
    say("start-up")
    start = {c.name: median(c.run(hello).seconds for _ in range(3)) for c in contenders}
    figures = []
    for workload in workloads:
        say(f"{workload.name}: finding how long to run")
        figures.append(_measure_one(workload, contenders, repeat, seconds, say))
    return start, figures


def _measure_one(workload: Workload, contenders: Sequence[Contender], repeat: int,
                 seconds: float, say: Say) -> Figures:
    counted: dict[int, int] = {}
    translation: list[float] = []

    def run(contender: Contender, rounds: int) -> float:
        made: Run = contender.run(workload.elf(rounds))
        if made.insns is not None:
            counted[rounds] = made.insns
        if made.translation_us is not None and contender.name == "tcglite counting":
            translation.append(made.translation_us)
        return made.seconds

    times = {c.name: calibrate(partial(run, c), seconds / 4) for c in contenders}
    rounds = choose_rounds(times, seconds)
    once = {name: 1 for name, n in rounds.items() if n * times[name] > ONCE * seconds}
    turns = sum(once.get(c.name, repeat) for c in contenders)
    done = iter(range(1, turns + 1))

    def turn(contender: Contender) -> float:
        say(f"{workload.name}: {next(done)} of {turns}, {contender.name}")
        return run(contender, rounds[contender.name])

    series = interleave({c.name: partial(turn, c) for c in contenders}, repeat, once)
    insns = {name: instructions(counted, n) for name, n in rounds.items()}
    return Figures(workload.name, rounds, insns, series,
                   median(translation) if translation else None)


def calibrate(run: Callable[[int], float], enough: float) -> float:
    """CPU seconds that one more round takes: more and more rounds, until they take ``enough``
    seconds more than one."""
    first, rounds = run(1), 4
    while (more := run(rounds) - first) < enough and rounds < 1 << 24:
        rounds *= 4
    return max(more, 1e-9) / (rounds - 1)


def choose_rounds(times: Mapping[str, float], seconds: float) -> dict[str, int]:
    """How many rounds each contender runs, from the seconds that one round takes it."""
    left = sorted(times, key=times.__getitem__)
    rounds: dict[str, int] = {}
    while left:
        fastest = times[left[0]]
        near = [name for name in left if times[name] <= NEAR * fastest]
        rounds |= dict.fromkeys(near, max(1, ceil(seconds / fastest)))
        left = left[len(near):]
    return rounds


def instructions(counted: Mapping[int, int], rounds: int) -> int:
    """Guest instructions of ``rounds`` rounds: as counted, else from the two longest counted runs
    (the work of a round is always about the same)."""
    if rounds in counted:
        return counted[rounds]
    short, long = sorted(counted)[-2:]
    each = (counted[long] - counted[short]) / (long - short)
    return round(counted[long] + (rounds - long) * each)


def remarks(start: Mapping[str, float], figures: Iterable[Figures]) -> list[str]:
    """What has to be known to read the figures."""
    figures = list(figures)
    notes = ["times are CPU seconds of whole processes, start-up and translation included"]
    fewer = {name for g in figures for name, n in g.rounds.items() if n < max(g.rounds.values())}
    if fewer:
        slow = ", ".join(name for name in start if name in fewer)
        notes.append(f"much slower, so fewer rounds of the same work, where a ratio to the others "
                     f"is one of times per instruction: {slow}")
    once = sorted({name for g in figures for name, values in g.seconds.values.items()
                   if None in values})
    if once:
        notes.append(f"run once only where a run is {ONCE} times as long as the fastest one's: "
                     + ", ".join(once))
    share = max((start[name] / seconds, g.name, name) for g in figures for name in start
                if (seconds := g.seconds.median(name)))
    if share[0] > 0.1:
        notes.append(f"start-up takes up to {share[0]:.0%} of a run ({share[1]}, {share[2]}): "
                     "ask for more --seconds")
    return notes
