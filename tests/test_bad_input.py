"""Bad input: one line of our own that says what was given and what was expected, or a guest trap.

Never a traceback from inside, a hang, or a dead process. Random code has a file of its own.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tcglite import Machine, Mechanisms, guests
from tcglite.errors import GuestError, StateError, TcgliteError, UnknownName, UsageError
from tcglite.hw.loader import read_image
from tcglite.machine import StopReason
from tcglite.target.asm import assemble

RAM, SIZE = 0x8000_0000, 1 << 16
SECONDS = 20  #: a run that takes so long has failed
LOOP = "_start: addi s0, s0, 1\n j _start\n"


def machine(guest: Any = None, **options: Any) -> Machine:
    """64 KiB and a guest, which is source text unless it is bytes or a path."""
    if guest is None or isinstance(guest, str):
        guest = assemble("        .option norvc\n" + (guest or LOOP))
    return Machine(guest, **{"memory": SIZE, **options})


def refused(act: Callable[[], object], kind: type[TcgliteError], *words: str) -> None:
    """``act`` must raise ``kind``, with one line that has all ``words`` and nothing behind it."""
    with pytest.raises(kind) as caught:
        act()
    text = str(caught.value)
    assert text
    assert "\n" not in text
    assert len(text) < 500, text
    for word in words:
        assert word in text
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


# -- files ------------------------------------------------------------------------------------

GOOD = assemble(
    " .option norvc\n .globl _start\n_start: la a0, word\n lw a1, 0(a0)\n li t0, 0x100000\n"
    " li t1, 0x5555\n sw t1, 0(t0)\n j .\n .data\nword: .word 7\n"
).to_elf()
EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")


def elf(segments: list[tuple[int, bytes, int]], machine: int = 243, kind: int = 2) -> bytes:
    """An ELF with just those segments: address, bytes, size in memory."""
    offset = EHDR.size + PHDR.size * len(segments)
    head = EHDR.pack(
        b"\x7fELF\2\1\1".ljust(16, b"\0"), kind, machine, 1, RAM, EHDR.size, 0, 0, EHDR.size,
        PHDR.size, len(segments), 64, 0, 0,
    )  # fmt: skip
    body = b""
    for address, data, size in segments:
        head += PHDR.pack(1, 7, offset + len(body), address, address, len(data), size, 4096)
        body += data
    return head + body


def test_the_elf_that_the_others_are_made_of_is_good() -> None:
    with machine(GOOD) as m:
        assert m.run(timeout=SECONDS).reason is StopReason.EXIT
        assert m.cpu["a1"] == 7
    with machine(elf([(RAM, b"\x01\0", 2)])) as m:  # c.nop
        assert m.run(max_insns=1, timeout=SECONDS).pc == RAM + 2


def test_what_is_no_elf_is_a_raw_image_at_the_base_of_ram(tmp_path: Path) -> None:
    raw = b"\x01\0" * 20  # c.nop
    (tmp_path / "raw").write_bytes(raw)
    for guest in (raw, bytearray(raw), tmp_path / "raw", str(tmp_path / "raw")):
        with machine(guest) if not isinstance(guest, str) else Machine(guest, memory=SIZE) as m:
            assert m.memory[RAM : RAM + 42] == raw + b"\0\0"
            assert m.symbols == {}
            assert m.run(max_insns=20, timeout=SECONDS).pc == RAM + 40
            result = m.run(timeout=SECONDS)
            assert result.reason is StopReason.UNHANDLED_TRAP


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.elf", ["missing.elf", "No such file"]),
        (".", ["directory"]),
        ("two\nlines", [r"two\nlines"]),
        ("nul\0here", [r"nul\x00here"]),
        ("x" * 300, ["too long"]),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, words: list[str]) -> None:
    path = tmp_path / name
    refused(lambda: Machine(path), GuestError, *words, "cannot read the guest")
    refused(lambda: Machine(GOOD, bios=path), GuestError, *words)
    refused(lambda: Machine(GOOD, load=[(path, RAM)]), GuestError, *words)
    refused(lambda: Machine(GOOD, dtb=path), GuestError, *words, "cannot read the device tree")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    refused(lambda: Machine(tmp_path / "empty"), GuestError, "empty")
    refused(lambda: Machine(b""), GuestError, "empty")


@pytest.mark.parametrize("guest", [None, 5, 1.5, ["a", "b"], object(), {"x": "y" * 500}])
def test_what_is_no_guest_at_all(guest: object) -> None:
    refused(lambda: Machine(guest), GuestError, "a guest is a path, bytes or an assembled program")


def patched(at: int, data: bytes) -> bytes:
    return GOOD[:at] + data + GOOD[at + len(data) :]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (patched(4, b"\1"), ["expected 64-bit little-endian RISC-V"]),
        (patched(5, b"\2"), ["expected 64-bit little-endian RISC-V"]),
        (patched(18, struct.pack("<H", 62)), ["EM_X86_64", "RISC-V"]),
        (patched(18, struct.pack("<H", 0xFFFF)), ["65535", "RISC-V"]),
        (patched(4, b"\7"), ["damaged ELF"]),
        (b"\x7fELF", ["damaged ELF"]),
        (elf([]), ["no segment to load"]),
        (elf([(RAM, b"abcd", 4)])[:-1], ["truncated"]),
        (elf([(RAM, b"abcd", 3)]), ["damaged", "more bytes than memory"]),
    ],
)
def test_elfs_of_the_wrong_kind(data: bytes, words: list[str]) -> None:
    refused(lambda: machine(data), GuestError, *words)


def test_a_program_of_this_computer_is_named_as_such() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("needs an ELF of the host")
    refused(lambda: Machine(sys.executable), GuestError, "is an ELF for", "expected 64-bit little")


@pytest.mark.parametrize(
    "segments",
    [
        [(RAM - 4, b"abcdefgh", 8)],
        [(RAM + SIZE - 4, b"abcdefgh", 8)],
        [(RAM + SIZE, b"a", 1)],
        [(0, b"a", 1)],
        [((1 << 64) - 1, b"ab", 2)],
        [(RAM, b"a", SIZE + 1)],
        [(RAM, b"a", (1 << 64) - 1)],
    ],
)
def test_segments_outside_ram(segments: list[tuple[int, bytes, int]]) -> None:
    refused(lambda: machine(elf(segments)), GuestError, "outside RAM", "0x80000000 to 0x80010000")


def test_a_raw_image_larger_than_ram() -> None:
    refused(lambda: machine(bytes(SIZE + 1)), GuestError, "outside RAM")
    with machine(bytes(SIZE)):
        pass


def test_segments_that_overlap(tmp_path: Path) -> None:
    two = elf([(RAM, b"abcd", 8), (RAM + 7, b"x", 1)])
    refused(lambda: machine(two), GuestError, "two segments overlap at 0x80000007")
    inside = elf([(RAM, b"abcd", 64), (RAM + 8, b"x", 1), (RAM + 32, b"x", 1)])
    refused(lambda: machine(inside), GuestError, "overlap")
    (tmp_path / "more").write_bytes(b"more")
    load = [(tmp_path / "more", RAM + 4)]
    refused(lambda: machine(GOOD, load=load), GuestError, "more", "overlap", "0x80000004")
    big_bios = bytes(0x20_0001)
    refused(lambda: machine(GOOD, bios=big_bios), GuestError, "overlap")
    with machine(elf([(RAM, b"abcd", 8), (RAM + 8, b"x", 1)])) as m:
        assert m.memory[RAM : RAM + 9] == b"abcd\0\0\0\0x"


def loaded(data: bytes) -> None:
    """Read and load ``data``: it works, or is refused in one line."""
    said = ""
    try:
        machine(data).close()
    except TcgliteError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 400


def test_every_prefix_of_a_good_elf() -> None:
    for length in range(len(GOOD)):
        loaded(GOOD[:length])


def test_extreme_values_in_every_field_of_an_elf() -> None:
    """Each 2, 4 and 8 bytes of the headers, with what breaks parsers. Nothing may take long, or
    much memory: a size field is only a claim."""
    (sections,) = struct.unpack_from("<Q", GOOD, 40)
    places = [*range(0, EHDR.size + 3 * PHDR.size, 2), *range(sections & ~1, len(GOOD) - 8, 2)]
    for at in places:
        for size in (2, 4, 8) if at % 8 == 0 else (2,):
            top = (1 << 8 * size) - 1
            for value in {0, top, top >> 1, 1 << 33 & top}:
                loaded(patched(at, value.to_bytes(size, "little")))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=8))
@example([(0, 0)])
def test_flipped_bytes_in_a_good_elf(flips: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, value in flips:
        data[at] = value
    loaded(bytes(data))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_behind_an_elf_magic(data: bytes) -> None:
    loaded(b"\x7fELF" + data)
    loaded(b"\x7fELF\2\1\1" + data)


def test_an_instruction_section_that_claims_to_be_huge() -> None:
    """``disas`` wants the bytes of sections with instructions; those without bytes have none."""
    (sections,) = struct.unpack_from("<Q", GOOD, 40)
    (count,) = struct.unpack_from("<H", GOOD, 60)
    data = bytearray(GOOD)
    for i in range(count):
        at = sections + 64 * i
        struct.pack_into("<I", data, at + 4, 8)  # SHT_NOBITS
        struct.pack_into("<Q", data, at + 8, 6)  # allocated, instructions
        struct.pack_into("<Q", data, at + 32, 1 << 40)
    assert sum(len(code) for _, code in read_image(bytes(data), RAM).code) < len(GOOD)


# -- names and numbers ------------------------------------------------------------------------


def test_unknown_guests() -> None:
    refused(lambda: guests.load("timr"), UnknownName, "timr", "timer")
    refused(lambda: guests.load("no\nsuch"), UnknownName, "no\\nsuch", "known")
    refused(lambda: guests.info(""), UnknownName, "known")
    refused(lambda: guests.source("zz"), UnknownName, "zz")


@pytest.mark.parametrize("name", ["no", "", "a\nb", None, 5, [], "x\u0660", "satp", "plic:"])
def test_unknown_registers_csrs_lines(name: Any) -> None:
    with machine() as m:
        refused(lambda: m.cpu[name], UnknownName, "expected a name like")
        refused(lambda: m.cpu.__setitem__(name, 1), UnknownName)
        refused(lambda: m.cpu.csr[name], UnknownName, "expected a name like 'mepc'")
        refused(lambda: m.cpu.csr.__setitem__(name, 1), UnknownName)
        for act in (m.set_irq, lambda line, level: m.raise_at(5, line)):
            refused(lambda act=act: act(name, 1), UnknownName, "expected", "mtip")


@pytest.mark.parametrize("line", ["plic:0", "plic:96", "plic:-1", "plic:1.0", "plic:" + "9" * 9999])
def test_interrupt_sources_that_the_plic_lacks(line: str) -> None:
    with machine() as m:
        refused(lambda: m.raise_irq(line), UnknownName, "plic:1 to plic:95")


def test_registers_hold_whole_numbers() -> None:
    with machine() as m:
        m.cpu["a0"] = -1
        m.cpu["zero"] = 5
        m.cpu.csr["mepc"] = 0x1_8000_0000_0000_0003
        assert (m.cpu["a0"], m.cpu["zero"]) == ((1 << 64) - 1, 0)
        assert m.cpu.csr["mepc"] == 0x8000_0000_0000_0002
        for value in ("5", 1.5, None):
            refused(lambda value=value: m.cpu.__setitem__("a0", value), UsageError, "a0")
            refused(lambda value=value: m.cpu.csr.__setitem__("mepc", value), UsageError, "mepc")
            refused(lambda value=value: setattr(m.cpu, "pc", value), UsageError, "pc")
        refused(lambda: m.cpu.csr.__setitem__("cycle", 1), UnknownName, "read-only")
        refused(lambda: m.cpu.csr.__setitem__(0xC00, 1), UnknownName, "read-only")


@pytest.mark.parametrize(
    "size",
    [0, -4096, 1, 4097, 64.5, None, [], "", "x", "0", "1.5M", "64MB", "-1M", "M", "9" * 5000,
     "100000000G", 1 << 63, 1 << 80],
)  # fmt: skip
def test_memory_sizes(size: Any) -> None:
    refused(lambda: Machine(GOOD, memory=size), UsageError, "memory")


def test_memory_sizes_that_are_good() -> None:
    for size in (4096 * 2, "64K", "64k", " 1M ", "65536"):
        Machine(GOOD, memory=size).close()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("backend", "native", ["native", "auto, x86_64, python"]),
        ("backend", None, ["None"]),
        ("trace", "all", ["all", "'events'"]),
        ("trace", [], ["[]"]),
        ("icount", 11, ["11", "0 to 10"]),
        ("icount", -1, ["-1"]),
        ("icount", "auto", ["auto"]),
        ("icount", 1.0, ["1.0"]),
        ("drive", "disk.img", ["drive"]),
        ("mechanisms", "all", ["Mechanisms"]),
        ("watchdog", -1, ["watchdog"]),
        ("watchdog", "5", ["watchdog"]),
        ("load", [("x", "y")], ["address"]),
        ("load", [("x", -1)], ["address"]),
    ],
)
def test_options_of_the_machine(option: str, value: Any, words: list[str]) -> None:
    refused(lambda: machine(GOOD, **{option: value}), TcgliteError, *words)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("irq_check", "sometimes", ["sometimes", "tb-start", "never"]),
        ("irq_check", None, ["None"]),
        ("irq_check", [], ["[]"]),
        ("chain", "off", ["chain", "'off'", "True or False"]),
        ("restore", "lazy", ["lazy", "'eager'"]),
        ("restore", 1, ["restore"]),
        ("max_block_insns", 0, ["1 to 512"]),
        ("max_block_insns", 513, ["1 to 512"]),
        ("max_block_insns", "8", ["'8'"]),
        ("quantum", 0, ["quantum"]),
        ("quantum", 1.5, ["1.5"]),
    ],
)
def test_switches(option: str, value: Any, words: list[str]) -> None:
    refused(lambda: Mechanisms(**{option: value}), UsageError, *words)


def test_combinations_that_make_no_sense() -> None:
    refused(lambda: machine(icount=0, count=False), UsageError, "icount", "count=False")
    for check in ("tb-end", "every-insn", "quantum", "acyclic", "unlink", "never"):
        switches = Mechanisms(irq_check=check)
        refused(lambda s=switches: machine(icount=0, mechanisms=s), UsageError, check)
    quantum = Mechanisms(irq_check="quantum")
    refused(lambda: machine(count=False, mechanisms=quantum), UsageError, "quantum", "count")
    with machine(count=False) as m:
        refused(lambda: setattr(m, "mechanisms", quantum), UsageError, "quantum", "count")
        refused(lambda: m.run(max_insns=5), UsageError, "max_insns", "count")
        refused(lambda: m.raise_at(5, "mtip"), UsageError, "raise_at", "count")
        assert m.mechanisms == Mechanisms()
        assert not m.running


def test_limits_of_a_run() -> None:
    with machine() as m:
        for limit in (-1, 1.5, "5", []):
            refused(lambda n=limit: m.run(max_insns=n), UsageError, "max_insns")
            refused(lambda n=limit: m.start(max_insns=n), UsageError, "max_insns")
        for limit in (-1, "5", [], float("nan")):
            refused(lambda n=limit: m.run(timeout=n), UsageError, "timeout")
            refused(lambda n=limit: m.wait(timeout=n), UsageError, "timeout")
        assert not m.running
        assert m.insns == 0
        assert m.run(max_insns=0, timeout=SECONDS).insns == 0
        assert m.run(max_insns=3, timeout=SECONDS).insns == 3
        assert m.run(max_insns=1 << 80, timeout=0).reason is StopReason.TIMEOUT
        for n in (-1, 1.5, "5", None):
            refused(lambda n=n: m.raise_at(n, "mtip"), UsageError, "raise_at")


def test_log_items() -> None:
    with machine() as m:
        refused(lambda: m.set_log(["exec", "cpu"], sys.stderr), UnknownName, "cpu", "in_asm")
        refused(lambda: m.set_log(["a\nb"], sys.stderr), UnknownName, "in_asm")


def test_what_can_be_typed() -> None:
    with machine() as m:
        for data in (5, None, ["a"], "\ud800"):
            refused(lambda data=data: m.uart.type(data), UsageError, "cannot type")


# -- memory -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [0, -1, RAM - 1, RAM + SIZE, 1 << 64, "a", None, 1.5, slice(None, 5), slice(RAM, None),
     slice(RAM, RAM + 8, 2), slice(RAM + 8, RAM), slice("a", "b"), slice(RAM - 1, RAM + 1),
     slice(RAM + SIZE - 4, RAM + SIZE + 4), slice(float(RAM), RAM + 4), slice(0, 1 << 64)],
)  # fmt: skip
def test_memory_outside_ram(key: Any) -> None:
    with machine() as m:
        refused(lambda: m.memory[key], TcgliteError)
        value = bytes(4) if isinstance(key, slice) else 0
        refused(lambda: m.memory.__setitem__(key, value), TcgliteError)


def test_what_can_be_stored() -> None:
    with machine() as m:
        for value in (b"abc", b"abcde", b"", "abcd", 5, None, [1, 2, 3, 400]):
            refused(lambda v=value: m.memory.__setitem__(slice(RAM, RAM + 4), v), UsageError)
        for value in (-1, 256, "a", b"a", None):
            refused(lambda v=value: m.memory.__setitem__(RAM, v), UsageError, "byte")
        m.memory[RAM : RAM + 4] = [1, 2, 3, 4]
        m.memory[RAM + 1] = 9
        assert m.memory[RAM : RAM + 4] == b"\1\x09\3\4"
        assert m.memory[RAM:RAM] == b""
        assert m.memory[RAM + SIZE - 1] == 0


def test_memory_is_not_written_under_a_running_guest() -> None:
    with machine() as m:
        m.start()
        refused(lambda: m.memory.__setitem__(RAM, 1), StateError, "pause()")
        m.pause()
        m.memory[RAM] = m.memory[RAM]


# -- recordings -------------------------------------------------------------------------------

HEAD = {"format": "tcglite-recording-1", "icount": 0, "memory": SIZE}


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "5", "null", b"\xff\xfe", "[" * 100_000, '{"format": "other"}',
        json.dumps({**HEAD, "memory": 5}), json.dumps({**HEAD, "icount": "x\ny" * 500}),
        json.dumps(HEAD),
        *(
            json.dumps({**HEAD, "inputs": inputs})
            for inputs in (
                5, [5], [[]], [[1]], [[1, "zz"]], [[1, 5]], [[1, "type"]], [[1, "type", 5]],
                [[1, "type", "\u1234"]], [[1, "type", "x", "y"]], [[1, "line"]],
                [[1, "line", "mtip"]], [[1, "line", "mtip", "x"]], [[1, "line", "mtip", 2]],
                [[-5, "type", "x"]], [[True, "type", "x"]], [[1.5, "type", "x"]],
                [[50, "type", "x"], [5, "type", "y"]],
            )
        ),
    ],
)  # fmt: skip
def test_bad_recordings(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "recording"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with machine(icount=0) as m:
        refused(lambda: m.replay(path), GuestError, "recording")
        m.uart.type("x")  # it does not replay
        assert m.run(max_insns=100, timeout=SECONDS).insns == 100


def test_recordings_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with machine(icount=0) as m:
        refused(lambda: m.replay(tmp_path / "none"), GuestError, "No such file")
        refused(lambda: m.replay(tmp_path), GuestError, "directory")
        m.record()
        refused(lambda: m.save_recording(tmp_path / "no" / "x"), UsageError, "No such file")
        m.save_recording(tmp_path / "good")
        m.replay(tmp_path / "good")
        refused(lambda: m.uart.type("x"), UsageError, "replays")
        refused(lambda: m.raise_irq("mtip"), UsageError, "replays")
    with machine() as m:
        refused(m.record, UsageError, "icount")
        refused(lambda: m.replay(tmp_path / "good"), UsageError, "icount")


def test_a_recording_with_a_line_that_the_board_lacks(tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_text(json.dumps({**HEAD, "inputs": [[5, "line", "zz", 1]]}))
    with machine(icount=0) as m:
        m.replay(path)
        refused(lambda: m.run(max_insns=100, timeout=SECONDS), UnknownName, "zz")
        assert m.insns == 5
