"""The six C workloads, each to be had as long as one likes.

How often a workload does its work is in its variable ``repeat`` (1). A longer run is a copy of the
ELF file with another number there: no compiler is needed, and all engines run the same bytes.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from .. import guests
from ..errors import GuestError, UsageError
from ..hw.loader import read_file, read_image

NAMES = ("crc", "sieve", "matmul", "quicksort", "dhry", "fib")
VARIABLE = "repeat"  #: 32 bits, 1 in the file
_MOST = (1 << 32) - 1


class Workload:
    """A guest that is bundled, or the name of an ELF file; it needs the variable ``repeat``.
    Raises GuestError and UsageError. Copies go to a directory that lives as long as this."""

    def __init__(self, guest: str) -> None:
        path = guests.find(guest)
        self.name = Path(guest).stem
        self._data = read_file("guest", path)
        image = read_image(path, 0x8000_0000)
        if VARIABLE not in image.symbols:
            raise UsageError(f"{guest} cannot be benchmarked: it has no variable {VARIABLE!r} that "
                             f"says how often to do its work; expected some of {' '.join(NAMES)}")
        self._at = _offset(guest, self._data, image.symbols[VARIABLE])
        self._scratch = tempfile.TemporaryDirectory(prefix="tcglite-bench-")

    def elf(self, rounds: int) -> Path:
        """The file that does its work ``rounds`` times."""
        path = Path(self._scratch.name) / f"{self.name}-{rounds}.elf"
        if not path.exists():
            word = min(rounds, _MOST).to_bytes(4, "little")
            path.write_bytes(self._data[:self._at] + word + self._data[self._at + 4:])
        return path


def _offset(guest: str, data: bytes, address: int) -> int:
    """Where in an ELF file the four bytes at ``address`` of the memory are."""
    from elftools.elf.elffile import ELFFile

    for offset in ELFFile(io.BytesIO(data)).address_offsets(address, 4):
        if data[offset:offset + 4] == b"\1\0\0\0":
            return int(offset)
    raise GuestError(f"{guest}: the variable {VARIABLE!r} is not the number 1 in 32 bits of .data")
