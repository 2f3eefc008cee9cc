"""Where on the x axis everything stands: the window, the folds, and pixels per instruction."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from tcglite.errors import UsageError, shown
from tcglite.lab.timeline.metrics import Metrics, text_width
from tcglite.lab.timeline.story import Gap, Ghost, Part, Point, Run, Story, Visit

SINGLE = 60  # so many boxes are drawn one by one
FOLDED = 2000  # so many are run-length coded; above that, density columns
DRAWN = 80  # so many boxes may remain after folding
LONGEST = 12  # longest repeating unit that is looked for
LEAD = 3  # blocks shown before an interrupt was raised
SKIP = 4  # so many blocks without a mark may be left out around a mark …
SKIP_FROM = 14  # … if there are more blocks than that …
DULL = 24  # … and no longer repetition among them
REACHES = ("arc", "way", "mark")  # how much around a mark, see select()

Window = int | tuple[int, int] | None


@dataclass(slots=True)
class FoldPlace:
    """Cells that stand for ``times`` repetitions; ``right`` is where the axis jumps."""

    x: float
    right: float
    times: int
    label: str


@dataclass(slots=True)
class SkipPlace:
    """Cells without a mark between those that a mark's picture is about."""

    x: float
    w: float
    blocks: int
    insns: int


@dataclass(slots=True)
class Placing:
    """x and width of each part shown."""

    parts: range
    ppi: float
    left: float
    right: float
    at: dict[int, tuple[float, float]] = field(default_factory=dict)
    folds: list[FoldPlace] = field(default_factory=list)
    skips: list[SkipPlace] = field(default_factory=list)

    def x(self, point: Point, story: Story) -> float | None:
        """The pixel of a point; None if its part is not shown."""
        place = self.at.get(point.part)
        if place is None:
            return None
        x, w = place
        part = story.parts[point.part]
        if isinstance(part, Run):
            return x + point.offset * self.ppi
        if isinstance(part, Gap):
            return x + (w * min(point.offset / part.lost, 1) if part.lost else 0)
        return x + w * point.offset

    def x_clamped(self, point: Point, story: Story) -> float:
        """As :meth:`x`; at the nearest shown part for a point outside or inside a fold."""
        if point.part < self.parts.start:
            return self.left
        if point.part >= self.parts.stop:
            return self.right
        x = self.x(point, story)
        if x is not None:
            return x
        number = point.part
        while number > self.parts.start and number not in self.at:
            number -= 1
        place = self.at.get(number)
        return self.left if place is None else place[0] + place[1]


def select(story: Story, window: Window, span: int, reach: str = "arc") -> range:
    """The cells that a window shows: all; those of some instructions; those around a mark.
    ``reach``: "way", with the whole way of its interrupt; "arc", also until the refused block has
    run; "mark", neither."""
    total = len(story.cells)
    _check_window(window)
    if window is None or not total:
        return range(total)
    if isinstance(window, tuple):
        return _between(story, *window)
    marks = story.marks
    if not -len(marks) <= window < len(marks):
        raise UsageError(f"mark {window} does not exist: the recording has {len(marks)} marks")
    mark = marks[window]
    first = last = cell_of(story, mark.at.part)
    for journey in story.journeys:
        if journey.number == mark.number and reach != "mark":
            cells = [cell_of(story, marks[k].at.part) for k in journey.marks]
            first, last = min(cells) - LEAD, max(cells) + 1
            for ghost, run in story.arcs if reach == "arc" else ():
                if first <= cell_of(story, ghost) <= last:
                    last = max(last, cell_of(story, run) + 1)
    spare = max(span - (last - first + 1), 0)
    last = min(last + spare - spare // 2, total - 1)
    first = max(min(first - spare // 2, last - span + 1), 0)
    return range(first, min(max(last, first + span - 1), total - 1) + 1)


def _check_window(window: Window) -> None:
    """None, a mark's number, or a pair of instruction numbers; nothing else."""
    given = window if isinstance(window, tuple) and len(window) == 2 else (window,)
    if window is not None and not all(isinstance(n, int) for n in given):
        raise UsageError(f"window={shown(window)}: expected None, the number of a mark, or a pair "
                         "of instruction numbers such as (94, 142)")


def _between(story: Story, start: int, stop: int) -> range:
    if start > stop:
        raise UsageError(f"window {start} to {stop}: expected the smaller number first")
    shown = []
    for number, cell in enumerate(story.cells):
        begin = story.parts[cell[0]].i
        end = story.parts[cell[-1]].i + story.insns(story.parts[cell[-1]])
        if begin < stop and (end > start or begin == end == start):
            shown.append(number)
    return range(shown[0], shown[-1] + 1) if shown else range(0)


def cell_of(story: Story, part: int) -> int:
    """The cell that holds a part."""
    return bisect_right(story.cells, part, key=lambda cell: cell.start) - 1


def tokens(story: Story, cells: range) -> list[object | None]:
    """What must be equal for two cells to be folded; None: shows a mark, never folded."""
    first, stop = story.cells[cells.start].start, story.cells[cells.stop - 1].stop
    extra: dict[int, list[object]] = {}
    single: set[int] = set()
    for mark in story.marks:
        single.add(mark.at.part)
    for change in (*story.lines, *story.strips):
        if first <= change.at.part < stop:
            extra.setdefault(change.at.part, []).append((change.row, change.level))
    for handler in story.handlers:
        if handler.end is not None:
            extra.setdefault(handler.end.part, []).append("return")
    for note in story.notes:
        if first <= note.at.part < stop:
            extra.setdefault(note.at.part, []).append(note.kind)
    found: list[object | None] = []
    for number in cells:
        cell = story.cells[number]
        parts = [story.parts[k] for k in cell]
        special = any(isinstance(p, Ghost | Gap) for p in parts) or story.run(number) is None
        if special or any(k in single for k in cell):
            found.append(None)
        else:
            found.append(tuple((_look(p, story), *extra.get(k, ())) for k, p in zip(cell, parts,
                                                                                    strict=True)))
    return found


def _look(part: Part, story: Story) -> object:
    if isinstance(part, Run):
        return (story.name(part), part.entry, part.executed)
    assert isinstance(part, Visit)
    return (part.reason, part.translated, part.patched, part.looked, part.exception, part.refills)


def _near(story: Story, cells: range) -> set[int]:
    """The cells at or beside a mark, an arc's end, a handler's edge or an edge of the window."""
    parts = [mark.at.part for mark in story.marks]
    parts += [part for arc in story.arcs for part in arc]
    for handler in story.handlers:
        parts.append(handler.start.part)
        if handler.end is not None:
            parts.append(handler.end.part)
    shown = range(story.cells[cells.start].start, story.cells[cells.stop - 1].stop)
    found = {cells.start, cells.start + 1, cells.stop - 2, cells.stop - 1}
    for part in parts:
        if part in shown:
            cell = cell_of(story, part)
            found.update((cell - 1, cell, cell + 1))
    return found


def _repeats(story: Story, cells: range, folding: bool, skipping: bool) -> list[Repeat]:
    """What is drawn, from left to right; ``times`` 0: left out, as :data:`SKIP` cells or more in
    which nothing happens are around a mark: a long handler."""
    found = [Repeat(c, 1, 1) for c in cells]
    if folding:
        found = [Repeat(r.start + cells.start, r.length, r.times) for r in
                 fold(tokens(story, cells))]  # fmt: skip
    if not skipping or len(cells) <= SKIP_FROM:
        return found
    near = _near(story, cells)
    kept: list[Repeat] = []
    dull: list[Repeat] = []
    for repeat in [*found, None]:
        if repeat is not None:
            covered = range(repeat.start, repeat.end)
            if len(covered) <= DULL and near.isdisjoint(covered):
                dull.append(repeat)
                continue
        if dull:
            length = dull[-1].end - dull[0].start
            kept += [Repeat(dull[0].start, length, 0)] if length >= SKIP else dull
            dull = []
        if repeat is not None:
            kept.append(repeat)
    return kept


def place(
    story: Story, cells: range, width: float, m: Metrics, folding: bool, skipping: bool = False
) -> Placing | None:
    """Give every shown part its x and width; None if that would be too many boxes."""
    repeats = _repeats(story, cells, folding, skipping)
    drawn = [c for r in repeats if r.times for c in range(r.start, r.start + r.length)]
    if folding and len(drawn) > DRAWN:
        return None
    widths = {Visit: m.gutter, Ghost: m.ghost, Gap: m.gap}
    fixed, insns = 0.0, 0
    for c in drawn:
        for k in story.cells[c]:
            part = story.parts[k]
            if isinstance(part, Run):
                insns += part.count
            else:
                fixed += widths[type(part)]
    fixed += sum(fold_extra(r.times, m) for r in repeats if r.times > 1)
    fixed += m.skip * sum(not r.times for r in repeats)
    left = m.names
    budget = max(width - left - m(26), m(120))
    fit = (budget - fixed) / max(insns, 1)
    # Small blocks may make the picture wider than asked, within reason.
    roomy = min(m(6), (1.6 * budget - fixed) / max(insns, 1))
    least = min(m(2.5), (3 * budget - fixed) / max(insns, 1))
    ppi = min(max(fit, roomy, least, m(0.4)), m(26))
    parts = range(story.cells[cells.start].start, story.cells[cells.stop - 1].stop)
    placing = Placing(parts, ppi, left, left)
    x = left
    for repeat in repeats:
        begin, start, length, times = x, repeat.start, repeat.length, repeat.times
        if not times:
            runs = [run for c in range(start, start + length) if (run := story.run(c))]
            insns = sum(run.executed for run in runs)
            placing.skips.append(SkipPlace(x, m.skip, len(runs), insns))
            x += m.skip
            continue
        if times > 1:
            x += m(5)
        for c in range(start, start + length):
            for k in story.cells[c]:
                part = story.parts[k]
                w = part.count * ppi if isinstance(part, Run) else widths[type(part)]
                placing.at[k] = (x, w)
                x += w
        if times > 1:
            x += fold_extra(times, m) - m(5)
            label = fold_label(story, start, length, times)
            placing.folds.append(FoldPlace(begin + m(1), x - m(1), times, label))
    placing.right = x
    return placing


def fold_label(story: Story, start: int, length: int, times: int) -> str:
    """``(A B C) × 412``, or ``A × 412``."""
    names = []
    for c in range(start, start + length):
        run = story.run(c)
        names.append(story.name(run) if run else "")
    inner = " ".join(names)
    return f"({inner}) × {times:,}" if length > 1 else f"{inner} × {times:,}"


def fold_extra(times: int, m: Metrics) -> float:
    """Pixels that a fold needs beside its boxes: its frame and its count."""
    return text_width(f"× {times:,}", m.normal, bold=True) + m(24)


# Run-length coding: ``A B C A B C A B C`` is ``(A B C) × 3``


@dataclass(frozen=True, slots=True)
class Repeat:
    """``times`` repetitions of the ``length`` tokens from ``start`` on; 1: nothing repeats."""

    start: int
    length: int
    times: int

    @property
    def end(self) -> int:
        return self.start + self.length * self.times


def fold(tokens: Sequence[Hashable | None], least: int = 3) -> list[Repeat]:
    """Cover all tokens with repeats, longest cover first, from left to right.

    None equals nothing, not even another None: a token that may not be folded.
    ``least``: fewer repetitions are written out.
    """
    total = len(tokens)
    repeats = []
    k = 0
    while k < total:
        best = Repeat(k, 1, 1)
        token = tokens[k]
        for period in range(1, LONGEST + 1):
            if token is None or k + period >= total or token != tokens[k + period]:
                continue
            if best.times > 1 and period % best.length == 0 and best.times > period // best.length:
                continue  # the same repeats, counted in larger units
            at = k + period
            while at < total and tokens[at] == tokens[at - period] and tokens[at] is not None:
                at += 1
            times = (at - k) // period
            if times >= least and times * period > best.length * best.times:
                best = Repeat(k, period, times)
        repeats.append(best)
        k = best.end
    return repeats
