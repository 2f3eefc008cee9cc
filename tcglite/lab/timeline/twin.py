"""The text twin: what the picture shows, in lines; for screen readers, terminals and tests."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tcglite.lab.timeline.glyphs import sign
from tcglite.lab.timeline.placing import fold
from tcglite.lab.timeline.story import Gap, Run, Story, Visit, distance, latency_text

LONGEST = 400  # lines; marks beyond are counted
ENTRY = {"loop": "○", "goto_ptr": "▷"}


def bounds(story: Story, parts: range) -> tuple[int, int]:
    """The guest instructions that ``parts`` cover."""
    if not len(parts):
        return (story.last, story.last)
    last = story.parts[parts.stop - 1]
    return (story.parts[parts.start].i, last.i + story.insns(last))


def summary(story: Story, parts: range) -> str:
    """One sentence or two: the alternative text of the picture."""
    start, stop = bounds(story, parts)
    have = totals(story, parts)
    marks = [mark for mark in story.marks if mark.at.part in parts]
    text = (
        f"Timeline of guest instructions {start} to {stop}: {have.runs:,} block runs, "
        f"{have.visits:,} visits to the loop."
    )
    if have.gaps:
        text += f" {lost_text(have.blocks, have.lost)} not recorded.".capitalize()
    if len(marks) <= 8:
        return " ".join([text, *(f"{_plain(mark.number, mark.kind)}, {mark.text}." for mark in
                                 marks)])
    counts = Counter(mark.kind for mark in marks)
    return text + " Marks: " + ", ".join(f"{kind} {n}" for kind, n in counts.items()) + "."


@dataclass(frozen=True, slots=True)
class Totals:
    """What happened in some parts. ``blocks``: of those not recorded, None if nobody knows."""

    insns: int
    runs: int
    visits: int
    gaps: int
    lost: int
    blocks: int | None


def totals(story: Story, parts: range) -> Totals:
    """Count what is in ``parts``."""
    insns = runs = visits = 0
    gaps: list[Gap] = []
    for number in parts:
        part = story.parts[number]
        if isinstance(part, Run):
            runs += 1
            insns += part.executed
        elif isinstance(part, Visit):
            visits += 1
        elif isinstance(part, Gap):
            gaps.append(part)
            visits += part.visits
    lost = sum(gap.lost for gap in gaps)
    known = [gap.blocks for gap in gaps if gap.blocks is not None]
    return Totals(
        insns + lost, runs, visits, len(gaps), lost,
        sum(known) if len(known) == len(gaps) else None,
    )  # fmt: skip


def lost_text(blocks: int | None, insns: int) -> str:
    """``412 blocks (1,653 instructions)``, as far as it is known."""
    if blocks is None:
        return f"{insns:,} instructions"
    return f"{blocks:,} blocks" + (f" ({insns:,} instructions)" if insns else "")


def _plain(number: int | None, kind: str) -> str:
    return f"Interrupt {number} {kind}" if number is not None else kind.capitalize()


def lines(story: Story, parts: range) -> tuple[str, ...]:
    """The flow of blocks, folded, and between them a line for each mark."""
    found: list[str] = []
    by_part: dict[int, list[int]] = {}
    for k, mark in enumerate(story.marks):
        if mark.at.part in parts:
            by_part.setdefault(mark.at.part, []).append(k)
    waits = _waits(story)
    pending: list[int] = []
    left = 0

    def flow() -> None:
        if pending:
            found.append(f"   i={story.parts[pending[0]].i} {flow_text(story, pending)}")
            pending.clear()

    for number in parts:
        part = story.parts[number]
        if isinstance(part, Run):
            pending.append(number)
        elif isinstance(part, Gap):
            flow()
            found.append(f"   i={part.i} … {lost_text(part.blocks, part.lost)} not recorded")
        if number not in by_part:
            continue
        flow()
        for k in by_part[number]:
            if len(found) < LONGEST:
                found.append(story.marks[k].line() + waits.get(k, ""))
            else:
                left += 1
        if len(found) >= LONGEST:
            rest = [k for n in range(number + 1, parts.stop) for k in by_part.get(n, ())]
            counts = Counter(story.marks[k].kind for k in rest)
            left += len(rest)
            if left:
                each = ", ".join(f"{sign(kind)} × {n}" for kind, n in counts.items())
                found.append(f"… and {left:,} more marks: {each}")
            return tuple(found)
    flow()
    return tuple(found)


def _waits(story: Story) -> dict[int, str]:
    """What to add to the line of a mark ◆: how long its interrupt waited."""
    found = {}
    for journey in story.journeys:
        measured = distance(story, journey)
        if measured is None:
            continue
        _, taken, insns, blocks = measured
        for k in journey.marks:
            if story.marks[k] is taken:
                found[k] = f" ({latency_text(insns, blocks)}{' after ▼' * (insns > 0)})"
    return found


def flow_text(story: Story, numbers: list[int]) -> str:
    """``○A ▶B (▶A ▶B) × 412``."""
    known: dict[tuple[int, int, str], str] = {}
    names = []
    for number in numbers:
        part = story.parts[number]
        assert isinstance(part, Run)
        key = (part.tb, part.executed, part.entry)
        if key not in known:
            short = "" if part.executed == part.count else f" {part.executed}/{part.count}"
            known[key] = f"{ENTRY.get(part.entry, '▶')}{story.name(part)}{short}"
        names.append(known[key])
    words = []
    for repeat in fold(names):
        inner = " ".join(names[repeat.start : repeat.start + repeat.length])
        if repeat.times == 1:
            words.append(inner)
        elif repeat.length == 1:
            words.append(f"{inner} × {repeat.times:,}")
        else:
            words.append(f"({inner}) × {repeat.times:,}")
    text = " ".join(words)
    return text if len(text) <= 600 else text[:600].rstrip() + " …"
