"""The picture of single blocks: lane after lane, from DEVICE to the axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tcglite.lab.timeline.canvas import (
    CODE_MARKS,
    HELPER_MARKS,
    Canvas,
    Tasks,
    mark_row,
    mark_shape,
    task_strips,
)
from tcglite.lab.timeline.metrics import Metrics, fitting, text_width
from tcglite.lab.timeline.placing import Placing
from tcglite.lab.timeline.shapes import (
    Arc,
    Band,
    Bar,
    Box,
    Fold,
    Gutter,
    Lost,
    Notches,
    Roof,
    Rule,
    Seam,
    Skip,
    Stem,
    Step,
    Strip,
)
from tcglite.lab.timeline.shapes import Ghost as GhostShape
from tcglite.lab.timeline.story import Change, Gap, Ghost, Handler, Run, Story, Visit
from tcglite.lab.timeline.story import Mark as StoryMark


class Lanes:
    """Draws what ``placing`` shows onto a canvas, and remembers where each mark went."""

    def __init__(self, canvas: Canvas, story: Story, placing: Placing, tasks: Tasks | None) -> None:
        self.c = canvas
        self.m: Metrics = canvas.m
        self.story = story
        self.p = placing
        self.tasks = tasks
        self.spots: dict[int, tuple[float, float]] = {}  # id of a story mark -> x, y
        self.marks = [k for k in story.marks if k.at.part in placing.at]
        self.box_y = 0.0
        self.letter_row = 0.0  # height of the row of letters that do not fit into their boxes

    def shown(self) -> Iterator[tuple[int, float, float]]:
        """Part number, x and width of each part shown, from left to right."""
        for number, (x, w) in self.p.at.items():
            yield number, x, w

    # Above the code

    def tasks_strip(self) -> None:
        """Which task's code runs, by the addresses of ``tasks``."""
        if not self.tasks:
            return
        places = [
            (x, x + w, part.pc)
            for number, x, w in self.shown()
            if isinstance(part := self.story.parts[number], Run)
        ]
        task_strips(self.c, self.tasks, places)

    def in_view(self, band: Handler) -> bool:
        """Does any of this handler's time lie in the window?"""
        last = self.p.parts.stop if band.end is None else band.end.part
        return last >= self.p.parts.start and band.start.part < self.p.parts.stop

    def bands(self, top: float, bottom: float) -> None:
        """Handlers as pale bands behind all lanes, with their labels in the row at ``top``."""
        m = self.m
        free = 0.0  # where the last label ends
        starts = [self.p.x_clamped(band.start, self.story) for band in self.story.handlers]
        for number, band in enumerate(self.story.handlers):
            if not self.in_view(band):
                continue
            left = starts[number]
            right = self.p.right
            if band.end is not None:
                right = self.p.x_clamped(band.end, self.story)
            if right - left < 1:
                continue
            label = f"handler: {band.label}"
            self.c.back.append(
                Band(x=left, y=top, w=right - left, h=bottom - top, depth=band.depth, label=label)
            )
            self.c.front.append(Roof(x=left, y=top, w=right - left, h=m(3)))
            # The label may be longer than the band, up to where the next one begins.
            start = max(left, free) + m(2)
            later = [x for x in starts[number + 1 :] if x > left + m(1)]
            room = min([self.p.right, *later]) - start - m(6)
            if text_width(label, m.small) > room:
                label = fitting(band.label, m.small, room) if room > m(24) else ""
            if label:
                free = start + text_width(label, m.small) + m(6)
                self.c.text(start, top + m(16), label)

    def intervals(self, changes: Sequence[Change], row: str) -> list[tuple[float, float]]:
        """Where ``row`` is high, in pixels."""
        found = []
        level = self.story.level_before(changes, row, self.p.parts.start)
        start = self.p.left
        for change in changes:
            if change.row != row or change.at.part not in self.p.parts:
                continue
            x = self.p.x_clamped(change.at, self.story)
            if level and not change.level:
                found.append((start, x))
            elif change.level and not level:
                start = x
            level = change.level
        if level:
            found.append((start, self.p.right))
        return [(a, b) for a, b in found if b > a]

    def device(self) -> None:
        """A row for each line that changes or is high here."""
        m, c = self.m, self.c
        c.lane("DEVICE")
        names = list(dict.fromkeys(change.row for change in self.story.lines))
        rows = [(name, self.intervals(self.story.lines, name)) for name in names]
        shown = {mark.lane for mark in self.marks if mark.kind == "raised"}
        rows = [(name, spans) for name, spans in rows if spans or name in shown]
        for name, spans in rows:
            y = c.row(f"line {name}", name, m(26))
            c.back.append(Rule(x=self.p.left, y=y + m(7), w=self.p.right - self.p.left))
            c.middle += [Bar(x=a, y=y - m(5), w=b - a, h=m(12), row=name) for a, b in spans]
        if not rows:
            c.row("line", "all lines low", m(26))
        c.y += m(2)

    def request(self) -> None:
        """Interrupts enabled, and the exit flag."""
        m, c = self.m, self.c
        c.lane("REQUEST")
        for row in ("enabled", "exit flag"):
            y = c.row(row, row, m(24))
            c.back.append(Rule(x=self.p.left, y=y + m(7), w=self.p.right - self.p.left))
            c.middle += [
                Strip(x=a, y=y - m(5), w=b - a, h=m(12), row=row)
                for a, b in self.intervals(self.story.strips, row)
            ]
        c.y += m(2)

    # The code and the loop

    def code(self) -> None:
        """Arcs above, then boxes, ghosts and seams, and the stems down to the loop."""
        m, c = self.m, self.c
        c.lane("GENERATED", "CODE")
        top = c.y
        levels = self.arcs_above(top)
        space = m(26) if any(mark.kind == "refused" for mark in self.marks) else m(12)
        c.y = top + max(levels * m(19) + m(12), space)
        slivers = [
            number for number, _, _ in self.shown()
            if isinstance(part := self.story.parts[number], Run) and not self.fits(number, part)
        ]  # fmt: skip
        self.letter_row = m(16) if slivers else 0.0
        c.y += self.letter_row
        self.box_y = c.y
        self.letters_above(slivers)
        self.arcs(top, levels)
        bottom = self.box_y + m.box
        boundaries: list[float] = []
        for number, x, w in self.shown():
            part = self.story.parts[number]
            if isinstance(part, Run):
                self.box(number, part, x, w)
                if self.p.ppi >= m(5):
                    boundaries += [x + k * self.p.ppi for k in range(1, part.executed)]
            elif isinstance(part, Ghost):
                c.middle.append(
                    GhostShape(
                        x=x + m(1), y=self.box_y, w=w - m(2), h=m.box, tb=part.tb,
                        name=self.story.name(part), caption=f"0/{part.count}", size=m.big,
                    )
                )  # fmt: skip
            elif isinstance(part, Gap):
                what = f"{part.lost:,} instr." if part.blocks is None else f"{part.blocks:,} blocks"
                lines = (fitting(what, m.small, w - m(8), bold=True), "not recorded")
                c.middle.append(
                    Lost(
                        x=x, y=self.box_y, w=w, h=m.box, blocks=part.blocks, insns=part.lost,
                        lines=lines, size=m.small,
                    )
                )  # fmt: skip
        if boundaries:
            at = tuple(round(x, 2) for x in boundaries)
            c.middle.append(Notches(x=at[0], y=self.box_y, h=m(5), at=at))
        for skip in self.p.skips:
            c.middle.append(
                Skip(
                    x=skip.x, y=self.box_y, w=skip.w, h=m.box, blocks=skip.blocks,
                    insns=skip.insns, size=m.small,
                )
            )  # fmt: skip
        above = [self.p.at[number][0] for number in slivers]
        for fold in self.p.folds:
            rise = m(6) + (self.letter_row if any(fold.x < x < fold.right for x in above) else 0)
            c.middle.append(
                Fold(
                    x=fold.x, y=self.box_y - rise, w=fold.right - fold.x,
                    h=m.box + m(6) + rise, times=fold.times, label=fold.label, size=m.normal,
                    middle=self.box_y + m.box / 2,
                )
            )  # fmt: skip
        c.y = bottom + m(26)

    def fits(self, number: int, part: Run) -> bool:
        """Does the letter fit into the box, beside the signs at its edges?"""
        width = self.p.at[number][1]
        return width >= text_width(self.story.name(part), self.m.big, bold=True) + self.m(13)

    def letters_above(self, slivers: Sequence[int]) -> None:
        m, end = self.m, 0.0
        for number in slivers:
            part = self.story.parts[number]
            assert isinstance(part, Run)
            x, w = self.p.at[number]
            name = self.story.name(part)
            size = text_width(name, m.normal, bold=True)
            if x + w / 2 - size / 2 >= end:
                self.c.text(
                    x + w / 2, self.box_y - m(4), name, m.normal, "middle", bold=True, halo=True
                )
                end = x + w / 2 + size / 2 + m(1)

    def box(self, number: int, part: Run, x: float, w: float) -> None:
        m = self.m
        name = self.story.name(part)
        caption = str(part.count)
        if part.executed < part.count:
            caption = f"{part.executed}/{part.count}"
        inside = self.fits(number, part)
        done = part.executed * self.p.ppi
        # Where a block broke off stands a sign; the caption needs room beside it.
        room = max(w - done - m(2), done - m(10)) if done < w else w
        if not inside or text_width(caption, m.small) + m(16) > room:
            caption = ""
        self.c.middle.append(
            Box(
                x=x, y=self.box_y, w=w, h=m.box, tb=part.tb, name=name,
                colour=self.story.letters.index(part.tb), count=part.count,
                executed=part.executed, done=done,
                label="inside" if inside else "above", caption=caption,
                edge="saw" if part.cut else "", size=m.big,
            )
        )  # fmt: skip
        kind = {"loop": "entered", "goto_ptr": "goto_ptr"}.get(part.entry, "chained")
        half = min(m(5.5), max(w * 0.6, m(2.5)))
        self.c.front.append(Seam(x=x, y=self.box_y + m.box / 2, w=half, h=half, kind=kind))

    def arcs_above(self, top: float) -> int:
        """How many rows the arcs need, and which has which."""
        self.arc_rows: list[tuple[float, float, int, float]] = []
        ends: list[float] = []
        for ghost, run in self.story.arcs:
            if ghost not in self.p.at or run not in self.p.at:
                continue
            start = self.p.at[ghost][0] + self.p.at[ghost][1] / 2
            stop = self.p.at[run][0] + min(self.p.at[run][1] / 2, self.m(12))
            row = next((k for k, end in enumerate(ends) if start > end + self.m(8)), len(ends))
            if row == len(ends):
                ends.append(stop)
            row = min(row, 2)
            ends[row] = max(ends[row], stop)
            target = self.story.parts[run]
            assert isinstance(target, Run)
            lift = 0.0 if self.fits(run, target) else self.m(17)
            self.arc_rows.append((start, stop, row, lift))
        return min(len(ends), 3)

    def arcs(self, top: float, levels: int) -> None:
        m = self.m
        label = "same host address"
        for start, stop, row, lift in self.arc_rows:
            y = top + m(12) + row * m(19)
            fits = text_width(label, m.small) + m(24) < stop - start
            self.c.middle.append(
                Arc(
                    x=start, y=self.box_y, w=stop - start, h=self.box_y - y, lift=lift,
                    label=label if fits else "", size=m.small,
                )
            )  # fmt: skip

    def loop(self) -> None:
        """What each visit did: E exception?, I interrupt?, F find, T translate."""
        m, c = self.m, self.c
        top = c.y
        c.lane("LOOP")
        c.y += m(4)
        rows = (("E", "E exception?"), ("I", "I interrupt?"), ("F", "F find"), ("T", "T translate"))
        for name, label in rows:
            c.row(name, label, m(19))
        middle = self.box_y + m.box / 2
        for number, x, w in self.shown():
            part = self.story.parts[number]
            if not isinstance(part, Visit):
                continue
            if number > self.p.parts.start:
                c.middle.append(Stem(x=x, y=middle, w=m(5), h=top - middle, up=False))
            if part.found:
                c.middle.append(
                    Stem(
                        x=x + w - m(5), y=middle, w=m(5), h=top - middle, up=True,
                        patched=part.patched,
                    )
                )  # fmt: skip
            done = {
                "E": part.exception,
                "I": part.looked in ("none", "again"),
                "F": part.found,
                "T": part.translated > 0,
            }
            c.front += [
                Step(x=x + w / 2, y=c.rows[name], name=name, size=m.normal)
                for name, yes in done.items()
                if yes
            ]
        c.y += m(4)

    def gutters(self, top: float, bottom: float) -> None:
        """The visits, and what was not recorded, behind all lanes."""
        for number, x, w in self.shown():
            part = self.story.parts[number]
            if isinstance(part, Visit):
                kind = "sleep" if part.sleep else "loop"
                self.c.back.append(Gutter(x=x, y=top, w=w, h=bottom - top, kind=kind))
            elif isinstance(part, Gap):
                self.c.back.append(Gutter(x=x, y=top, w=w, h=bottom - top, kind="gap"))

    # Marks

    def put_marks(self) -> None:
        """Every mark in its lane; one lane's marks never hide each other."""
        m, c = self.m, self.c
        rows: dict[float, list[tuple[float, StoryMark]]] = {}
        for mark in self.marks:
            x = self.p.x_clamped(mark.at, self.story)
            if mark.kind == "refused":
                self.refused(x + m(1), mark)
                continue
            rows.setdefault(self.mark_y(mark), []).append((x, mark))
        for y, placed in rows.items():
            signs, where = mark_row(m, y, placed, self.p.left, self.p.right)
            c.front += signs
            self.spots.update({key: (x, y) for key, x in where.items()})

    def refused(self, x: float, mark: StoryMark) -> None:
        m = self.m
        y = self.box_y + m.box / 2
        above = m.box / 2 + m(11) + self.letter_row
        self.c.front.append(mark_shape(m, x, y, [mark], above=above))
        self.spots[id(mark)] = (x, y)

    def mark_y(self, mark: StoryMark) -> float:
        rows, m = self.c.rows, self.m
        inside = isinstance(self.story.parts[mark.at.part], Run | Gap)
        if mark.kind == "raised":
            return rows.get(f"line {mark.lane}", rows.get("line", 0.0))
        if mark.kind == "flag":
            return rows["exit flag"] - m(4)
        if mark.kind in CODE_MARKS and inside:
            return self.box_y + m.box * 0.78
        if mark.kind in HELPER_MARKS:
            return rows["helpers"]
        return rows["E"] if mark.kind in CODE_MARKS else rows["I"]
