"""The cross-check of notebook 00: it agrees, it says where it ends, and it can fail."""

from __future__ import annotations

import builtins

import pytest

from tcglite import guests, lab
from tcglite.errors import TcgliteError, UsageError
from tcglite.lab.programs import Program

pytest.importorskip("unicorn")

from tcglite.crosscheck import unicorn as check


@pytest.mark.parametrize("guest", ["echo", "timer", "crc", "sieve", "fib"])
def test_registers_and_memory_agree(guest):
    report = check.compare(guest, insns=600, start=500, every=7)
    assert report.ok, report.line()
    assert report.checks >= 20


def test_it_ends_where_a_device_is_read_or_a_trap_is_taken():
    report = check.compare("timer", insns=500, start=0, every=1)
    assert report.ok
    assert report.ended == "the guest reads a device at 0x200bff8"
    report = check.compare("fault", insns=500, start=0, every=1)
    assert "a trap" in report.ended or "device" in report.ended


@pytest.mark.parametrize("register", ["UC_RISCV_REG_X9", "UC_RISCV_REG_X21"])
def test_a_wrong_register_is_found_and_named(monkeypatch, register):
    from unicorn import riscv_const

    class Wrong(check.Twin):
        def __init__(self, *args):
            super().__init__(*args)
            number = getattr(riscv_const, register)
            self._uc.reg_write(number, self._uc.reg_read(number) ^ 1)

    monkeypatch.setattr(check, "Twin", Wrong)
    report = check.compare("echo", insns=100, start=2000, every=10)
    assert not report.ok
    assert "here and" in report.difference
    assert report.line().startswith("✗ tcglite and Unicorn")


def test_wrong_memory_is_found(monkeypatch):
    monkeypatch.setattr(check.Twin, "ram", lambda self, size: bytes(size))
    report = check.compare("echo", insns=20, start=2000)
    assert report.difference == "memory is not the same at the end"
    assert "differ" in repr(lab.crosscheck("echo", insns=20, start=2000))


def test_nothing_compared_is_no_agreement():
    # `timer` reads the clock with its eighth instruction: nothing is left to compare there
    report = check.compare("timer", insns=5, start=8)
    assert not report.ok
    assert report.line().startswith("– nothing to compare")


@pytest.mark.parametrize("guest", guests.names())
@pytest.mark.parametrize("start", [0, None])
def test_no_guest_raises_a_false_alarm(guest, start):
    report = check.compare(guest, insns=1000, start=start)
    line = report.line()
    assert report.ok or (report.insns == 0 and report.ended), line
    assert line.startswith("✓" if report.ok else "–")
    assert ("memory equal" in line) == report.memory


def test_memory_is_compared_also_where_it_ends_early(monkeypatch):
    report = check.compare("fault", insns=500)
    assert "a trap" in report.ended
    assert report.memory
    monkeypatch.setattr(check.Twin, "ram", lambda self, size: bytes(size))
    assert check.compare("fault", insns=500).difference == "memory is not the same at the end"


@pytest.mark.parametrize(("last", "done"), [
    ("jr t1", 3), ("lw t2, 0(t1)", 2), ("ecall", 2), ("wfi", 2), ("csrr t2, cycle", 2),
    ("sc.d t2, t0, (sp)", 2),
])
def test_both_stop_right_before_what_cannot_be_compared(last, done):
    # a jump retires, and its target cannot be fetched; the others do not retire
    program = Program("p", f"_start: li t0, 1\nli t1, 64\n{last}\nli t0, 3\nli t0, 4\n")
    report = check.compare(program, insns=50, start=0)
    assert report.ok, report.line()
    assert (report.insns, report.memory) == (done, True)


def test_a_start_beyond_the_end_is_an_error():
    with pytest.raises(UsageError, match=r"start=1000000: hello stopped after \d+ instructions"):
        lab.crosscheck("hello", insns=100, start=10**6)


def test_bad_numbers_and_a_missing_unicorn_are_one_line(monkeypatch):
    for wrong in ({"insns": 0}, {"insns": "x"}, {"every": 0}, {"start": -1}):
        with pytest.raises(UsageError, match="expected a whole number"):
            check.compare("echo", **wrong)
    real = builtins.__import__

    def without(name, *args):
        if name == "unicorn":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(TcgliteError, match=r"pip install 'tcglite\[crosscheck\]'"):
        check.compare("echo", insns=10)
