"""A translated block (QEMU: include/exec/translation-block.h)."""

from __future__ import annotations

from typing import Any

from ..tcg.cflags import CF_INVALID


class TranslationBlock:
    """``icount`` guest instructions from ``pc`` on, as host code, and who jumps where.

    number: 1, 2, … in the order of translation. pc, phys, flags, cflags: the key. code: the guest
    bytes it was made from. host: the backend's code. search: the encoded search data. Chaining:
    ``jmp_dest[n]`` is the block that slot n jumps to, ``incoming`` the (block, slot) pairs that
    jump here.
    """

    __slots__ = (
        "cflags",
        "code",
        "flags",
        "full",
        "host",
        "icount",
        "incoming",
        "indirect",
        "jmp_dest",
        "number",
        "pc",
        "phys",
        "search",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        pc: int,
        phys: int,
        flags: int,
        cflags: int,
        icount: int,
        code: bytes,
        indirect: bool,
        full: bool,
    ) -> None:
        self.number = number
        self.pc = pc
        self.phys = phys
        self.flags = flags
        self.cflags = cflags
        self.icount = icount
        self.code = code
        self.indirect = indirect
        self.full = full
        self.host: Any = None
        self.search = b""
        self.jmp_dest: list[TranslationBlock | None] = [None, None]
        self.incoming: list[tuple[TranslationBlock, int]] = []

    @property
    def key(self) -> tuple[int, int, int, int]:
        """{physical pc, pc, flags, cflags}: all that translation depended on."""
        return self.phys, self.pc, self.flags, self.cflags

    @property
    def invalid(self) -> bool:
        """Was it removed? It may still be running."""
        return bool(self.cflags & CF_INVALID)

    def __repr__(self) -> str:
        return f"<tb {self.number} pc={self.pc:#x} insns={self.icount}>"
