"""Small helpers of a notebook: the legend, real source, the projector mode."""

from __future__ import annotations

import inspect
import os
import textwrap
from typing import Any

from tcglite.errors import UsageError
from tcglite.lab import theme, timeline
from tcglite.lab.picture import Picture, figure

__all__ = ["figure", "legend", "present", "source"]


def present(scale: float = 1.6) -> None:
    """Projector mode: everything that the lab draws from now on is ``scale`` times as large.
    ``present(1)`` goes back. The front end's own fonts have their own settings."""
    theme.set_font_scale(scale)


def legend(*names: str) -> Picture:
    """How to read the timeline: the signs of a first interrupt, those named, or ``"all"``."""
    drawn = timeline.legend("all" if names == ("all",) else names or None)
    return Picture(timeline.to_html(drawn), timeline.to_text(drawn))


class Source:
    """The source of a real function or class, with the place where it stands."""

    def __init__(self, thing: Any) -> None:
        thing = inspect.unwrap(getattr(thing, "__func__", thing))
        try:
            lines, first = inspect.getsourcelines(thing)
            path = inspect.getsourcefile(thing) or ""
        except (TypeError, OSError):
            raise UsageError(f"source of {thing!r}: expected a function, method, class or module "
                             "written in Python") from None
        package = os.path.join("tcglite", "")
        self.where = path[path.rfind(package):] if package in path else os.path.basename(path)
        self.first = first or 1
        self.text = textwrap.dedent("".join(lines))

    def __repr__(self) -> str:
        return f"# {self.where}, line {self.first}\n{self.text}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        shown = f"`{self.where}`, line {self.first}\n\n```python\n{self.text}\n```"
        return {"text/markdown": shown, "text/plain": repr(self)}


def source(thing: Any) -> Source:
    """Show the real source of ``thing`` (a function, method, class or module): no black boxes."""
    return Source(thing)
