"""A process that runs one guest once: ``python -m tcglite.bench.worker ENGINE ELF OPTIONS``.

Each run has a process of its own, so that none finds what another has left (decoded instructions,
specialised bytecode), and so that all engines are measured alike: CPU seconds of a whole process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import thread_time
from typing import Any

from ..accel import cpu_exec
from ..accel.mechanisms import Mechanisms
from ..accel.memory import RAM_BASE
from ..accel.tb import TranslationBlock
from ..hw.loader import read_image
from ..machine import Machine, StopReason

_UART, _LSR, _TX_EMPTY = 0x1000_0000, 5, b"\x60"


class Clock:
    """What was translated, and the thread's CPU seconds by name of what was timed."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self.blocks: list[TranslationBlock] = []

    @property
    def insns(self) -> int:
        """Guest instructions in the blocks."""
        return sum(tb.icount for tb in self.blocks)

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, with its time added up under ``name``."""

        def wrapped(*args: Any, **keywords: Any) -> Any:
            began = thread_time()
            try:
                return function(*args, **keywords)
            finally:
                self.spent[name] = self.spent.get(name, 0.0) + thread_time() - began

        return wrapped


@contextmanager
def translations(clock: Clock) -> Iterator[None]:
    """Time every ``tb_gen_code`` meanwhile."""
    original = cpu_exec.tb_gen_code
    timed = clock.timed("tb_gen_code", original)

    def tb_gen_code(*args: Any) -> TranslationBlock:
        tb: TranslationBlock = timed(*args)
        clock.blocks.append(tb)
        return tb

    setattr(cpu_exec, "tb_gen_code", tb_gen_code)  # noqa: B010
    try:
        yield
    finally:
        setattr(cpu_exec, "tb_gen_code", original)  # noqa: B010


def run_tcglite(elf: str, options: dict[str, Any]) -> dict[str, Any]:
    """The whole guest. Its instructions (None with count=False), and what translation took."""
    mechanisms = Mechanisms(**options.pop("mechanisms", {}))
    clock = Clock()
    with translations(clock), Machine(elf, mechanisms=mechanisms, memory="128M",
                                      **options) as machine:
        result = machine.run()
    if result.reason is not StopReason.EXIT or result.exit_code:
        raise RuntimeError(f"{result} {machine.console!r}")
    return {"insns": result.insns, "translated": clock.insns,
            "translation": clock.spent["tb_gen_code"]}


def run_unicorn(elf: str, options: dict[str, Any]) -> dict[str, Any]:
    """The whole guest in one call, without hooks. It has no devices: the UART is plain memory with
    the status byte set, and the store to the finisher, which is not mapped, ends the run."""
    import unicorn
    from unicorn.riscv_const import UC_RISCV_REG_PC

    uc = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
    uc.mem_map(RAM_BASE, 128 << 20)
    uc.mem_map(_UART, 0x1000)
    uc.mem_write(_UART + _LSR, _TX_EMPTY)
    for address, data, _ in read_image(elf, RAM_BASE).segments:
        uc.mem_write(address, data)
    try:
        uc.emu_start(RAM_BASE, 0)
        ended = None
    except unicorn.UcError as error:
        ended = error
    if ended is None or ended.errno != unicorn.UC_ERR_WRITE_UNMAPPED:
        raise RuntimeError(f"no end: {ended}, pc {uc.reg_read(UC_RISCV_REG_PC):#x}")
    return {}


if __name__ == "__main__":
    made = {"tcglite": run_tcglite, "unicorn": run_unicorn}[sys.argv[1]]
    print(json.dumps(made(sys.argv[2], json.loads(sys.argv[3]))))
