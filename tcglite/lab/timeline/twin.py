"""The text twin: what the picture shows, in lines; for screen readers, terminals and tests."""

from __future__ import annotations

from collections import Counter

from tcglite.lab.timeline.bottom import distance, latency_text
from tcglite.lab.timeline.fold import fold
from tcglite.lab.timeline.glyphs import sign
from tcglite.lab.timeline.story import Gap, Run, Story, Visit

LONGEST = 400  # lines; marks beyond are counted
ENTRY = {"loop": "○", "goto_ptr": "▷"}


def bounds(story: Story, parts: range) -> tuple[int, int]:
    """The guest instructions that ``parts`` cover."""
    if not len(parts):
        return (story.last, story.last)
    last = story.parts[parts.stop - 1]
    return (
        story.parts[parts.start].i,
        last.i + last.executed if isinstance(last, Run) else last.i,
    )


def summary(story: Story, parts: range) -> str:
    """One sentence or two: the alternative text of the picture."""
    start, stop = bounds(story, parts)
    runs = sum(isinstance(story.parts[k], Run) for k in parts)
    visits = sum(isinstance(story.parts[k], Visit) for k in parts)
    marks = [mark for mark in story.marks if mark.at.part in parts]
    text = (
        f"Timeline of guest instructions {start} to {stop}: {runs:,} block runs, "
        f"{visits:,} visits to the loop."
    )
    if len(marks) <= 8:
        return " ".join([text, *(f"{_plain(mark.number, mark.kind)}, {mark.text}." for mark in
                                 marks)])
    counts = Counter(mark.kind for mark in marks)
    return text + " Marks: " + ", ".join(f"{kind} {n}" for kind, n in counts.items()) + "."


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
            found.append(f"   … {part.lost:,} instructions not recorded")
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
    names = []
    for number in numbers:
        part = story.parts[number]
        assert isinstance(part, Run)
        short = "" if part.executed == part.count else f" {part.executed}/{part.count}"
        names.append(f"{ENTRY.get(part.entry, '▶')}{story.name(part)}{short}")
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
