"""Record what the bundled guests do on QEMU 7.2, and where Unicorn ends their blocks.

    python tools/record_traces.py [NAME ...]          write data/traces/NAME.json
    python tools/record_traces.py --check [NAME ...]  compare only; status 1 when a file differs

QEMU is the one that is installed (``crosscheck/qemu_run.py`` says how to get it); the files
committed were made with 7.2.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import unicorn
from unicorn import riscv_const

from tcglite import Machine, guests
from tcglite.accel.memory import RAM_BASE
from tcglite.crosscheck import traces
from tcglite.crosscheck.behaviour import Block
from tcglite.crosscheck.qemu import (
    ENDLESS_INSNS,
    default_icount,
    endless,
    qemu_options,
    watch_qemu,
)
from tcglite.crosscheck.qemu_run import CPU, version_text
from tcglite.crosscheck.traces import Recording
from tcglite.tcg.cflags import MAX_INSNS, cf_count

RAM = 1 << 20  #: bytes; more than any bundled guest's code needs
FS_SHIFT = 13  #: of mstatus
PAGE = 4096


def record(name: str) -> Recording:
    """Run the guest on QEMU, and ask Unicorn for its blocks."""
    icount = None if endless(name) else default_icount(name)
    stdin = guests.info(name).stdin
    items, *more = qemu_options(icount)
    return Recording(
        name, traces.elf_hash(name), version_text(),
        " ".join(["-M virt -bios none -m 64M -cpu", CPU, "-d", items, *more]), icount,
        watch_qemu(name, icount=icount, stdin=stdin.encode("latin-1")),
        unicorn.__version__, unicorn_blocks(name, stdin),
    )  # fmt: skip


def unicorn_blocks(name: str, stdin: str) -> list[Block]:
    """(pc, instructions) of Unicorn's block at each place where tcglite has translated one. Without
    those whose code the guest had changed by then, as Unicorn is given the file, and those that
    reach the end of a page, where Unicorn (QEMU 5.0) has another rule than QEMU 7.2."""
    with Machine(guests.load(name), memory=RAM, icount=default_icount(name)) as m:
        image = bytes(m.memory[RAM_BASE : RAM_BASE + RAM])
        m.uart.type(stdin)
        m.run(max_insns=ENDLESS_INSNS if endless(name) else None, timeout=60)
        whole = [tb for tb in m.tbs if cf_count(tb.cflags) == MAX_INSNS]
        wanted = [(tb.pc, tb.flags, list(tb.guest)) for tb in whole]
    twins: dict[int, Any] = {}
    found: set[Block] = set()
    for pc, flags, insns in wanted:
        priv, fs = flags & 3, flags >> 2 & 3
        if flags not in twins:
            twins[flags] = _twin(image, priv, fs)
        _, icount, size = twins[flags].ctl_request_cache(pc)
        if (pc + size - 1) % PAGE >= PAGE - 2 or (pc + size - 1) // PAGE != pc // PAGE:
            continue
        if all(_bits(image, addr, length) == bits for addr, bits, length, _ in insns):
            found.add((pc, icount))
    return sorted(found)


def _twin(image: bytes, priv: int, fs: int) -> Any:
    """A Unicorn that holds the guest and will only translate it."""
    uc = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
    uc.mem_map(RAM_BASE, len(image))
    uc.mem_write(RAM_BASE, image)
    uc.reg_write(riscv_const.UC_RISCV_REG_MSTATUS, fs << FS_SHIFT)
    uc.reg_write(riscv_const.UC_RISCV_REG_PRIV, priv)
    return uc


def _bits(image: bytes, addr: int, length: int) -> int:
    at = addr - RAM_BASE
    return int.from_bytes(image[at : at + length], "little")


def text_of(recording: Recording) -> str:
    """The file: one line for each field."""
    fields = traces.to_json(recording).items()
    lines = (f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in fields)
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(argv: list[str] | None = None) -> int:
    """Record or check. The exit status."""
    parser = argparse.ArgumentParser(description="Record what the guests do on QEMU.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("names", nargs="*", help="guests (default: all)")
    args = parser.parse_args(argv)
    stale = 0
    for name in args.names or guests.names():
        path = traces.directory() / f"{name}.json"
        text = text_of(record(name))
        same = path.is_file() and path.read_text(encoding="utf-8") == text
        if args.check and not same:
            print(f"{path.name} is not what QEMU {version_text()} does")
            stale += 1
        elif not same:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    return min(stale, 1)


if __name__ == "__main__":
    sys.exit(main())
