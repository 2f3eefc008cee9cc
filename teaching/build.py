"""Makes the student's notebooks from their sources.

    python teaching/build.py            write notebooks/*.ipynb
    python teaching/build.py --check    say which are not what their source gives; status 1 if any

A source is ``teaching/source/NN-name.py`` in jupytext's percent format. Tags of its cells:

``hero``        run here, not copied: its variable ``hero`` is the one picture that the student's
                copy shows before anything was run, as the output of the code cell that follows
``docassert``   asserts what the prose claims; run by the tests, not copied
``instructor``  notes for teachers; not copied
``solution``    not copied, like the lines from ``### BEGIN SOLUTION`` to ``### END SOLUTION``
``deeper``      a heading whose section is folded when the notebook opens
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import jupytext
from nbformat import NotebookNode
from nbformat.v4 import new_output

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "teaching" / "source"
NOTEBOOKS = ROOT / "notebooks"

NOT_COPIED = {"hero", "docassert", "instructor", "solution"}
KERNEL = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
SOLUTION = re.compile(r"^([ \t]*)### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION$", re.M | re.S)


def tags(cell: NotebookNode) -> set[str]:
    """The tags of a cell."""
    return set(cell.metadata.get("tags", []))


def picture(code: str) -> dict[str, str]:
    """Run a ``hero`` cell; what its variable ``hero`` shows, as a mime bundle."""
    names: dict[str, Any] = {}
    exec(compile(code, "hero", "exec"), names)
    return dict(names["hero"]._repr_mimebundle_())


def student(source: Path) -> NotebookNode:
    """The student's copy of a source."""
    notebook = jupytext.read(source)
    cells: list[NotebookNode] = []
    hero: dict[str, str] | None = None
    for cell in notebook.cells:
        if "hero" in tags(cell):
            hero = picture(cell.source)
        if tags(cell) & NOT_COPIED:
            continue
        metadata = {"jp-MarkdownHeadingCollapsed": True} if "deeper" in tags(cell) else {}
        cell.metadata = NotebookNode(metadata)
        cell.id = f"nb{source.name[:2]}-{len(cells):02}"
        if cell.cell_type == "code":
            cell.source = SOLUTION.sub(r"\1...  # your code here", cell.source)
            cell.outputs = []
            cell.execution_count = None
            if hero is not None:
                cell.outputs = [new_output("display_data", data=hero)]
                hero = None
        cells.append(cell)
    notebook.cells = cells
    notebook.metadata = NotebookNode(KERNEL)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def text(notebook: NotebookNode) -> str:
    """The file, always written the same way."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def comparable(notebook: dict[str, Any]) -> str:
    """The notebook without the bytes of its picture, which depend on fonts; its text stays."""
    copy = json.loads(json.dumps(notebook))
    for cell in copy["cells"]:
        for output in cell.get("outputs", []):
            output["data"] = {"text/plain": output["data"]["text/plain"]}
    return json.dumps(copy, indent=1, ensure_ascii=False, sort_keys=True)


def main(arguments: list[str]) -> int:
    """Write or check all notebooks; returns the exit status."""
    stale = []
    for source in sorted(SOURCES.glob("[0-9][0-9]-*.py")):
        target = NOTEBOOKS / f"{source.stem}.ipynb"
        made = student(source)
        if "--check" not in arguments:
            target.write_text(text(made), encoding="utf-8")
            print(f"{target.relative_to(ROOT)}: {len(made.cells)} cells")
        elif not target.exists() or comparable(json.loads(target.read_text("utf-8"))) != comparable(
                made):
            stale.append(target.name)
    if stale:
        print(f"not what the source gives: {', '.join(stale)}; run: python teaching/build.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
