"""The six C workloads, as they are and scaled up.

The committed ELF files take some two million instructions: enough for Python, a millisecond for
QEMU. For QEMU and Unicorn the same sources are compiled again by the same compiler with the same
flags and a larger SCALE, in a directory that is thrown away. The end of the guest then also prints
``minstret``, which under ``-icount`` is the number of instructions.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
GUESTS = ROOT / "data" / "guests"
NAMES = ("crc", "sieve", "matmul", "quicksort", "dhry", "fib")

_LARGE = {"crc": 8192, "matmul": 320, "quicksort": 1000, "dhry": 5000, "fib": 34, "sieve": 6}
_QUICK = {"crc": 2048, "matmul": 200, "quicksort": 250, "dhry": 1200, "fib": 31, "sieve": 6}
#: Other edits: sieve would outgrow the host's caches, so it sieves the same numbers again.
_SIEVE = "for (u32 i = 2; i * i < limit; i++) {"
_EDITS = {"sieve": [(_SIEVE, f"for (int round = 0; round < 20; round++) {_SIEVE}")]}
_COUNT = (
    "    *finisher = code",
    '    u64 insns;\n    __asm__ volatile("csrr %0, minstret" : "=r"(insns));\n'
    '    print("instructions ");\n    print_dec(insns);\n    print("\\n");\n    *finisher = code',
)


def can_scale() -> bool:
    """Is the compiler installed? (extra ``guests``)"""
    return importlib.util.find_spec("ziglang") is not None


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tcglite-bench-")


@cache
def _builder() -> Any:
    spec = importlib.util.spec_from_file_location("guests_build", GUESTS / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _edit(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise RuntimeError(f"{old!r} is not once in the source; bench/workloads.py must follow it")
    return text.replace(old, new)


@cache
def scaled(name: str, quick: bool) -> Path:
    """The ELF of ``name`` with more work."""
    build = _builder()
    scratch = Path(_scratch().name)
    src = scratch / "src"
    if not src.exists():
        shutil.copytree(GUESTS / "src", src)
        library = src / "lib" / "lib.c"
        library.write_text(_edit(library.read_text(), *_COUNT))
        build.SRC = src
    source = src / f"{name}.c"
    lines = source.read_text().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if line.startswith("#define SCALE"))
    lines[at] = f"#define SCALE {(_QUICK if quick else _LARGE)[name]}\n"
    text = "".join(lines)
    for old, new in _EDITS.get(name, []):
        text = _edit(text, old, new)
    source.write_text(text)
    try:
        data = build.compile_c(name)
    except subprocess.CalledProcessError as error:
        sys.exit(f"bench: {name} does not compile: {error}")
    elf = scratch / f"{name}.elf"
    elf.write_bytes(data)
    return elf
