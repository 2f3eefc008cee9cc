"""The bundled guests on tcglite itself: the console and exit code that QEMU's board gives."""

from __future__ import annotations

from typing import Any

import backends
import pytest

from tcglite import Machine, Mechanisms, guests

pytestmark = pytest.mark.usefixtures("backend")


def _run(name: str, **options: Any) -> tuple[str, int | None, str]:
    """Reason, exit code and console of a guest, with its stdin typed at the start."""
    guest = guests.info(name)
    with Machine(guests.load(name), backend=backends.chosen, **options) as machine:
        machine.uart.type(guest.stdin)
        result = machine.run(timeout=60)
        if guest.instructions is not None and not options:
            assert result.insns == pytest.approx(guest.instructions, rel=0.01, abs=10)
        return result.reason.value, result.exit_code, machine.console


@pytest.mark.parametrize("name", [name for name in guests.names() if name != "loop"])
def test_prints_what_it_prints_on_qemu(name: str) -> None:
    guest = guests.info(name)
    assert _run(name) == ("exit", guest.exit_code, guest.console)


@pytest.mark.parametrize("options", [{"mechanisms": Mechanisms(io_last=True)}, {"icount": 0}])
def test_the_doorbell_cuts_the_block_where_device_accesses_come_last(
    options: dict[str, Any],
) -> None:
    assert _run("doorbell", **options) == ("exit", 0, guests.info("doorbell").console_io_last)


def test_loop_runs_until_the_limit() -> None:
    with Machine(guests.load("loop"), backend=backends.chosen) as machine:
        result = machine.run(max_insns=403)
        assert result.reason.value == "max-insns"
        assert machine.console == ""
        assert (machine.cpu["s0"], machine.cpu["s1"]) == (100, 300)  # 3 before it, 4 each round
