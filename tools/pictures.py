"""Makes the pictures of the README: ``python tools/pictures.py``. A test holds the files to it."""

from __future__ import annotations

from pathlib import Path

from tcglite.lab.hero import first_interrupt_layout
from tcglite.lab.timeline import to_svg

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"


def first_interrupt() -> str:
    """The guest ``bell``, interrupted once; light, for any page."""
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + to_svg(
        first_interrupt_layout(), "light") + "\n"


def main() -> None:
    """Write all pictures."""
    (FOLDER / "first-interrupt.svg").write_text(first_interrupt(), encoding="utf-8")


if __name__ == "__main__":
    main()
