"""Which host backend the machines of a test run on, so that one body serves all of them; and what
a test asks about host code, answered for each.

A module says ``pytestmark = pytest.mark.usefixtures("backend")`` (conftest.py), and makes its
machines with ``backend=backends.chosen`` or by a function that does.
"""

from __future__ import annotations

import re
from typing import Any

from tcglite import Machine
from tcglite.tcg.backends import BACKENDS
from tcglite.tcg.x86_64.buffer import unsupported
from tcglite.trace import events as ev
from tcglite.views import TBView

chosen = "python"  #: where nothing was asked for

#: Backend -> why its code cannot run on this computer; "" if it can.
MISSING = {name: unsupported() if name == "x86_64" else "" for name in BACKENDS}


def jumps_to(m: Machine, number: int, slot: int) -> int | None:
    """Which block the host code of block ``number`` jumps to there; None: its own exit. Read from
    the code itself, whatever the engine remembers."""
    tbs = m._cpu.tbs
    code = tbs.by_number[number].host
    if tbs.backend.name == "python":
        fn = code.names[f"jump{slot}"]
        return fn and int(fn.__code__.co_filename.strip("<tb >"))
    if code.slots[slot] is None:
        return None
    displacement, own_exit = code.slots[slot]
    raw = tbs.backend.buffer.read(code.offset + displacement, 4)
    target = displacement + 4 + int.from_bytes(raw, "little", signed=True)
    if target == own_exit:
        return None
    dest = tbs.lookup_host(code.start + target)
    assert dest is not None
    assert dest.host.start == code.start + target, "a jump into the middle of a block"
    return dest.number


def slow_paths(tb: TBView) -> list[tuple[int, int | None]]:
    """(host PC handed to Python, guest instruction in the block) of each access to memory."""
    found = []
    for row in tb.host:
        if row.raw:
            match = re.fullmatch(r"lea r[cd]x, \[rip ([+-]) (0x[0-9a-f]+|[0-9])\]", row.text)
            if match:
                ahead = int(match[1] + match[2], 0)
                found.append((row.address + len(row.raw) // 2 + ahead, row.insn))
        elif match := re.search(r"(?:load|store)\(.*(0x[0-9a-f]+)\)", row.text):
            found.append((int(match[1], 0), row.insn))
    return found


def without_addresses(event: ev.Event) -> tuple[Any, ...]:
    """What an event says, but for its time, its place in the ring, and host addresses, which
    differ from machine to machine."""
    names = [n for n in type(event).__slots__ if n != "host_pc"]
    return type(event), event.insns, *(getattr(event, n) for n in names)
