"""The README: its picture and its claims are what the project gives."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from tcglite import Machine, guests
from tcglite.lab import bell

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_picture_is_what_the_project_draws():
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "tools" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    kept = (ROOT / "docs" / "images" / "first-interrupt.svg").read_text(encoding="utf-8")
    assert kept == pictures.first_interrupt(), "run: python tools/pictures.py"


def test_the_dump_is_a_real_one():
    shown = re.sub(r"\s+", "", README)
    with Machine(bell(), backend="python") as machine:
        machine.run(max_insns=100, timeout=20)
        block = next(tb for tb in machine.tbs if tb.pc == bell().symbols["every"])
        guest = [row[-1] for row in block.guest]
        host = [row.text for row in block.host]
        ir = [line for line in block.ir_opt.splitlines() if line.strip() and "----" not in line]
    for line in [*guest, *host, *ir]:
        assert re.sub(r"\s+", "", line) in shown, line


def test_the_dump_of_machine_code_is_a_real_one():
    shown = re.sub(r"\s+", "", README)
    with Machine(bell(), backend="python") as machine:
        machine.run(max_insns=100, timeout=20)
        block = next(tb for tb in machine.tbs if tb.pc == bell().symbols["every"])
        rows = block.host_on("x86_64")
    main = rows[: next(n for n, row in enumerate(rows) if row.text.startswith("jmp")) + 1]
    assert len(main) == 10
    for row in main:
        text = re.sub(r"^(j\w+) 0x\w+$", r"\1…", row.text)
        assert re.sub(r"\s+", "", text) in shown, row
        if row.note and not row.text.startswith("j"):
            assert re.sub(r"\s+", "", f"{text}#{row.note}") in shown, row


def test_the_number_of_guests_and_the_links():
    assert f"{len(guests.names())} small programs" in README
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
