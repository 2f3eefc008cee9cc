"""The timeline: what a machine did, as a picture and as a text.

``layout()`` turns events into shapes, ``to_svg`` and ``to_figure`` paint them, ``to_text`` tells
them, ``legend()`` explains them. QEMU has no such picture; what it shows is what QEMU's ``-d
exec,int`` and ``-icount`` do. matplotlib is imported only by who asks for a figure.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from tcglite.errors import UsageError
from tcglite.lab.theme import AUTO, LIGHT, Theme
from tcglite.lab.timeline.layout import layout, overview
from tcglite.lab.timeline.legend import legend
from tcglite.lab.timeline.names import Letters
from tcglite.lab.timeline.painters import to_figure, to_svg
from tcglite.lab.timeline.shapes import Layout, MarkInfo
from tcglite.trace.events import Event

__all__ = [
    "Layout",
    "Letters",
    "MarkInfo",
    "layout",
    "legend",
    "overview",
    "save_timeline",
    "timeline_html",
    "to_figure",
    "to_html",
    "to_svg",
    "to_text",
]


def to_text(picture: Layout) -> str:
    """The text twin: the blocks in order and one line for each mark,
    ``①▼ i=1650 line mtip raised in A 3/7``."""
    return "\n".join(picture.text)


def to_html(picture: Layout, caption: str = "", look: str | Theme = AUTO) -> str:
    """A layout as a ``<figure>``: the picture (it scrolls if it is wide), its caption, and the
    text twin folded away."""
    said = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    twin = ""
    if picture.text:
        twin = (
            "<details><summary>The same as text</summary>"
            f'<pre style="overflow-x:auto">{escape(to_text(picture))}</pre></details>'
        )
    return (
        '<figure class="tcglite-timeline" style="margin:0">'
        f'<div style="overflow-x:auto" tabindex="0">{to_svg(picture, look)}</div>'
        f"{said}{twin}</figure>"
    )


def timeline_html(
    events: Iterable[Event], *, caption: str = "", look: str | Theme = AUTO, **options: Any
) -> str:
    """The timeline of these events as HTML for a notebook; ``options`` are those of
    :func:`layout`."""
    return to_html(layout(events, **options), caption, look)


def save_timeline(
    events: Iterable[Event],
    path: str | Path,
    *,
    look: str | Theme = LIGHT,
    title: str | None = "",
    **options: Any,
) -> Layout:
    """Write the timeline to a file, ``.svg``, ``.png`` or ``.pdf``; returns its layout.

    ``title`` (the guest's name) stands on top, with the run's numbers; None: no such line. Without
    ``window`` the picture is an :func:`overview`, else :func:`layout` with these ``options``.
    Raises UsageError for another ending, a folder that does not exist, or without matplotlib
    (which an ``.svg`` does not need).
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in (".svg", ".png", ".pdf"):
        raise UsageError(f"timeline file {str(path)!r}: expected a name ending in .png or .svg")
    draw = overview if options.get("window") is None else layout
    if draw is overview:
        options = {name: value for name, value in options.items() if name not in ("window", "span")}
    picture = draw(events, title=title, **options)
    try:
        if ending == ".svg":
            text = '<?xml version="1.0" encoding="UTF-8"?>\n' + to_svg(picture, look) + "\n"
            target.write_text(text, encoding="utf-8")
        else:
            # Twice as many pixels as the layout has, for dense screens and print.
            to_figure(picture, look).savefig(target, dpi=200)
    except OSError as error:
        raise UsageError(f"timeline file {str(path)!r}: {error.strerror}") from None
    except ImportError as error:
        raise UsageError(
            f"timeline file {str(path)!r} needs {error.name}: pip install 'tcglite[lab]', or give "
            "a name ending in .svg"
        ) from None
    return picture
