"""Pictures that survive everywhere: inline SVG or PNG in HTML, always with a text alternative.

JupyterLab's own image renderers drop alternative texts, and a bare matplotlib Figure shows as one
line of text outside pyplot; so the bytes are made here and wrapped in a <figure>.
"""

from __future__ import annotations

import base64
import html
import io
from typing import Any


class Picture:
    """HTML for front ends, text for everything else."""

    def __init__(self, body: str, text: str) -> None:
        self.html = body
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}


def figure(picture: Any, alt: str, caption: str = "") -> Picture:
    """Show ``picture`` (SVG text or a matplotlib Figure) with its alternative text ``alt``."""
    if isinstance(picture, str):
        body = picture
    else:
        out = io.BytesIO()
        picture.savefig(out, format="png", dpi=110, bbox_inches="tight")
        data = base64.b64encode(out.getvalue()).decode()
        body = (f'<img alt="{html.escape(alt)}" style="max-width:100%" '
                f'src="data:image/png;base64,{data}">')
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    label = html.escape(alt)
    return Picture(
        f'<figure role="img" aria-label="{label}" style="margin:0">{body}{below}</figure>',
        f"[{alt}]" + (f" {caption}" if caption else ""))
