"""``docs/differences.md``: the names that reports use, and tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOM = ROOT / "tcglite" / "crosscheck"
PAGE = (ROOT / "docs" / "differences.md").read_text(encoding="utf-8")

#: Where the names of each oracle's differences stand.
FILES = {
    "Unicorn": ("unicorn.py", "unicorn_differences.py"),
    "Spike": ("spike.py", "spike_state.py"),
    "QEMU": ("behaviour.py",),
}
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")
_OTHER_WORDS = {"latin-1"}  # an encoding


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def keys_of_notes(path: Path) -> list[ast.expr]:
    """What stands between the brackets of each ``….notes[…]``."""
    return [
        node.slice
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "notes"
    ]


def text(node: ast.AST | None) -> str:
    """A string constant; "" of anything else."""
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) else ""


def names_in(path: Path) -> set[str]:
    """Keys of ``notes``; words with hyphens, which become keys by way of a variable; and words
    that a function returns."""
    found = {text(key) for key in keys_of_notes(path)}
    for node in ast.walk(tree(path)):
        if _NAME.fullmatch(text(node)):
            found.add(text(node))
        elif isinstance(node, ast.Return) and re.fullmatch(r"[a-z]+", text(node.value)):
            found.add(text(node.value))
    return found - {""} - _OTHER_WORDS


def rows(oracle: str) -> list[list[str]]:
    """The cells of each row of an oracle's table."""
    section = PAGE.split(f"\n## {oracle}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


@pytest.mark.parametrize("oracle", FILES)
def test_every_name_is_explained_and_every_explained_name_is_used(oracle: str) -> None:
    used = set().union(*(names_in(ROOM / name) for name in FILES[oracle]))
    explained = [row[0].strip("`") for row in rows(oracle) if row[0].startswith("`")]
    assert sorted(explained) == sorted(used)


def test_names_stand_nowhere_else() -> None:
    with_notes = {path.relative_to(ROOM).as_posix() for path in ROOM.rglob("*.py")
                  if keys_of_notes(path)}  # fmt: skip
    assert with_notes <= {name for names in FILES.values() for name in names}


@pytest.mark.parametrize("oracle", FILES)
def test_every_row_is_complete_and_its_tests_exist(oracle: str) -> None:
    for row in rows(oracle):
        assert len(row) == 4, row[0]
        assert re.fullmatch(r"`[a-z0-9-]+`|\*[^*]+\*", row[0]), row[0]
        tests = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row[3])
        assert tests, row[0]
        for file, function in tests:
            functions = {node.name for node in ast.walk(tree(ROOT / "tests" / file))
                         if isinstance(node, ast.FunctionDef)}  # fmt: skip
            assert function in functions, f"{row[0]}: {file}::{function}"
