"""Build the bundled guests: ``src/*.S`` with tcglite's own assembler, ``src/*.c`` with LLVM.

    python data/guests/build.py [NAME ...]        write elf/NAME.elf
    python data/guests/build.py --check [NAME ...]  compare only; status 1 when a file differs

LLVM comes as the Python package ``ziglang`` (extra ``guests``). The files it writes depend on its
version, so the one that made the committed files is named in ``guests.json`` ("toolchain").
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SRC = HERE / "src"
ELF = HERE / "elf"

C_FLAGS = [
    "-target", "riscv64-freestanding-none", "-mcpu=generic_rv64+m+a+c", "-mcmodel=medany",
    "-ffreestanding", "-nostdlib", "-O2", "-g0", "-Wall", "-Wextra", "-Werror",
    "-Wno-unused-command-line-argument", "-ffunction-sections", "-Wl,--gc-sections",
    "-Ilib", "-T", "lib/virt.ld",
]  # fmt: skip


def toolchain() -> str:
    """The C toolchain that made the committed files, as "name version"."""
    return str(json.loads((HERE / "guests.json").read_text(encoding="utf-8"))["toolchain"])


def installed_toolchain() -> str | None:
    """The C toolchain that is installed here, as "name version"; None when there is none."""
    try:
        return f"ziglang {importlib.metadata.version('ziglang')}"
    except importlib.metadata.PackageNotFoundError:
        return None


def names(suffix: str) -> list[str]:
    """The guests whose source has this suffix (".S" or ".c")."""
    return sorted(path.stem for path in SRC.glob(f"*{suffix}"))


def assemble(name: str) -> bytes:
    """The ELF file of an assembly guest."""
    from tcglite.target.asm import assemble as assemble_source

    return assemble_source((SRC / f"{name}.S").read_text(encoding="utf-8")).to_elf()


def compile_c(name: str) -> bytes:
    """The ELF file of a C guest. The compiler's caches go to a directory that is thrown away."""
    with tempfile.TemporaryDirectory() as scratch:
        elf = Path(scratch) / f"{name}.elf"
        environment = os.environ | {
            "ZIG_GLOBAL_CACHE_DIR": scratch,
            "ZIG_LOCAL_CACHE_DIR": scratch,
        }
        command = [sys.executable, "-m", "ziglang", "cc", *C_FLAGS]
        command += ["-o", str(elf), "lib/start.s", "lib/lib.c", f"{name}.c"]
        # Relative names and this directory: no path of the machine gets into the file.
        subprocess.run(command, cwd=SRC, env=environment, check=True)
        return elf.read_bytes()


def build(name: str) -> bytes:
    """The ELF file of guest ``name``, from its source."""
    return assemble(name) if (SRC / f"{name}.S").exists() else compile_c(name)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build the bundled guests.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which guests (default: all)")
    parser.add_argument("--check", action="store_true", help="compare with elf/, write nothing")
    options = parser.parse_args(arguments)
    known = names(".S") + names(".c")
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no such guest: {', '.join(unknown)} (known: {', '.join(known)})")
    wanted = options.names or known
    if any(name in names(".c") for name in wanted) and installed_toolchain() != toolchain():
        print(
            f"note: the committed C guests were made with {toolchain()}, "
            f"here is {installed_toolchain() or 'no ziglang'}",
            file=sys.stderr,
        )
    status = 0
    ELF.mkdir(exist_ok=True)
    for name in wanted:
        path = ELF / f"{name}.elf"
        built = build(name)
        same = path.exists() and path.read_bytes() == built
        if not same and options.check:
            print(f"{name}: {path.name} is not what the source gives")
            status = 1
        elif not same:
            path.write_bytes(built)
            print(f"{name}: written, {len(built)} bytes")
    return status


if __name__ == "__main__":
    sys.exit(main())
