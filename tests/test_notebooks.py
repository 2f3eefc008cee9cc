"""The notebooks: the generated copies are what the sources give, and the sources run."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "teaching" / "source").glob("[0-9][0-9]-*.py"))
COPIES = sorted((ROOT / "notebooks").glob("*.ipynb"))

jupytext = pytest.importorskip("jupytext")
nbclient = pytest.importorskip("nbclient")


def test_each_source_has_its_copy_and_nothing_else_is_there():
    assert [p.stem for p in SOURCES] == [p.stem for p in COPIES]
    assert {p.name for p in (ROOT / "notebooks").iterdir()} - {".ipynb_checkpoints"} == {
        p.name for p in COPIES}


def test_the_copies_are_what_the_sources_give():
    done = subprocess.run([sys.executable, "teaching/build.py", "--check"], cwd=ROOT,
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_every_cell_of_the_source_runs(source, tmp_path):
    """With the solutions and the asserts that hold the prose to the behaviour."""
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbclient.NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}
                            ).execute()


@pytest.mark.parametrize("copy", COPIES, ids=lambda p: p.stem)
def test_a_copy_opens_without_questions_and_spoils_nothing(copy):
    notebook = json.loads(copy.read_text(encoding="utf-8"))
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert "widgets" not in notebook["metadata"]
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert sum(bool(cell["outputs"]) for cell in code) == 1, "one picture, nothing else"
    text = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
    assert "docassert" not in text
    assert "SOLUTION" not in text


@pytest.mark.parametrize("copy", COPIES, ids=lambda p: p.stem)
def test_a_copy_is_short_enough_and_its_headings_are_in_order(copy):
    cells = json.loads(copy.read_text(encoding="utf-8"))["cells"]
    core = []
    for cell in cells:
        if cell["cell_type"] == "markdown" and cell["metadata"].get("jp-MarkdownHeadingCollapsed"):
            break
        core.append(cell)
    assert sum(cell["cell_type"] == "code" for cell in core) <= 12
    levels = [len(mark) for cell in cells if cell["cell_type"] == "markdown"
              for mark in re.findall(r"^(#+) ", "".join(cell["source"]), re.M)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels)), levels


@pytest.mark.parametrize("copy", COPIES, ids=lambda p: p.stem)
def test_pictures_have_alternative_text(copy):
    notebook = json.loads(copy.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        assert not re.search(r"!\[\]\(", "".join(cell["source"]))
        for output in cell.get("outputs", []):
            shown = "".join(output["data"].get("text/html", ""))
            assert re.search(r'aria-label="[^"]{20,}"|alt="[^"]{20,}"', shown)
