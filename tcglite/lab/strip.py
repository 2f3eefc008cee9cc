"""The strip of last moments: the timeline around one mark, and the way from mark to mark."""

from __future__ import annotations

from tcglite.lab.snapshot import Recording
from tcglite.lab.timeline import Layout, layout, to_html
from tcglite.lab.timeline.reading import read

SPANS = (6, 12, 24, 48, 120, 600)       # blocks that are shown at least


class Strip:
    """Draws a recording around one of its marks; follows the newest interrupt until moved."""

    def __init__(self, width: float = 960) -> None:
        self.width = width
        self.html = ""
        self.text = ""
        self.position = ""
        self._recording: Recording | None = None
        self._mark: int | None = None
        self._zoom = 1

    def show(self, recording: Recording) -> bool:
        """Draw a new recording at its newest interrupt; False if it is the one already drawn."""
        if recording is self._recording:
            return False
        self._recording = recording
        self._mark = None
        self._draw()
        return True

    def move(self, by: int) -> None:
        """To the next mark (1) or the previous one (-1)."""
        drawn = self._draw()
        if drawn is not None and drawn.marks and self._mark is not None:
            self._mark = min(max(self._mark + by, 0), len(drawn.marks) - 1)
            self._draw()

    def zoom(self, by: int) -> None:
        """More blocks (1) or fewer (-1) around the mark."""
        self._zoom = min(max(self._zoom + by, 0), len(SPANS) - 1)
        self._draw()

    def clear(self) -> None:
        """Nothing to show."""
        self._recording = self._mark = None
        self.html = self.text = self.position = ""

    def _draw(self) -> Layout | None:
        recording = self._recording
        if recording is None or not recording.events:
            self.html = self.text = self.position = ""
            return None
        if self._mark is None:
            marks = read(recording.events, recording.letters).marks
            raised = [k for k, mark in enumerate(marks) if mark.kind == "raised"]
            self._mark = raised[-1] if raised else len(marks) - 1 if marks else None
        drawn = layout(recording.events, width=self.width, letters=recording.letters,
                       span=SPANS[self._zoom], window=self._mark)
        self.html = to_html(drawn)
        self.text = "\n".join(drawn.text)
        if self._mark is not None and drawn.marks:
            self.position = (f"mark {self._mark + 1} of {len(drawn.marks)}: "
                             f"{drawn.marks[self._mark].line}")
        return drawn
