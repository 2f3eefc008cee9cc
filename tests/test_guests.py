"""The bundled guests: catalogue, sources, ELF files, and what they do on QEMU."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
from engine_qemu import needs_qemu, run_qemu, version

from tcglite import guests
from tcglite.crosscheck.qemu import IO_LAST_SINCE
from tcglite.errors import GuestError, UnknownName

DATA = Path(__file__).resolve().parent.parent / "data" / "guests"
ASM = [name for name in guests.names() if guests.info(name).kind == "asm"]
C = [name for name in guests.names() if guests.info(name).kind == "c"]
COMMON = "\n# ---- console, exit and the last resort: the same lines in every guest ----\n"
CPU_OF_THE_BOARD = "rv64"  #: without the options that make it like our hart


def _build() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("build_guests", DATA / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = _build()


# ---- the catalogue ----


def test_the_catalogue_names_each_source_and_each_elf_file() -> None:
    assert sorted(ASM) == build.names(".S")
    assert sorted(C) == build.names(".c")
    assert sorted(guests.names()) == sorted(path.stem for path in (DATA / "elf").iterdir())


@pytest.mark.parametrize("name", guests.names())
def test_each_guest_is_described(name: str) -> None:
    guest = guests.info(name)
    assert guests.load(name) == guest.elf
    assert guest.elf.is_file()
    assert guests.source(name) == guest.source.read_text(encoding="utf-8")
    assert 10 <= len(guest.title) <= 80
    assert guest.mechanisms
    assert guest.notes.endswith(".")
    assert (guest.exit_code is None) == (name == "loop")


def test_an_unknown_guest_is_an_error_that_helps() -> None:
    with pytest.raises(UnknownName, match=r"unknown guest 'tymer'; did you mean timer\?"):
        guests.load("tymer")
    with pytest.raises(UnknownName, match=r"unknown guest 'xyzzy'; known: hello, loop"):
        guests.info("xyzzy")


def test_importing_the_catalogue_reads_no_file() -> None:
    code = "from tcglite import guests; assert guests._catalogue.cache_info().currsize == 0"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_an_installed_package_finds_its_own_copy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without the repository around it the catalogue is the one in ``_data``."""
    monkeypatch.setattr(guests, "_PLACES", (tmp_path / "data", tmp_path / "_data"))
    caches = (guests._directory, guests._catalogue)
    try:
        for cached in caches:
            cached.cache_clear()
        with pytest.raises(GuestError, match=r"the bundled guests are missing: .*_data"):
            guests.names()
        shutil.copytree(DATA, tmp_path / "_data")
        assert guests.load("hello") == tmp_path / "_data" / "elf" / "hello.elf"
    finally:
        for cached in caches:
            cached.cache_clear()


# ---- the sources ----


@pytest.mark.parametrize("name", guests.names())
def test_each_source_says_what_it_shows(name: str) -> None:
    text = guests.source(name)
    if name in ASM:
        head = text[: text.index("\n\n")]
        assert head.startswith(f"# {name}: ")
        for word in ("# Shows:  ", "# Watch:  ", "# Prints: "):
            assert word in head
    else:
        head = text[: text.index("*/")]
        assert head.startswith(f"/* {name}: ")
        for word in (" * Shows:  ", " * Checks: "):
            assert word in head
        assert "#define SCALE " in text


@pytest.mark.parametrize("name", ASM)
def test_assembly_needs_no_preprocessor(name: str) -> None:
    """The sources end in .S, for which gcc runs cpp: no comment may look like a directive."""
    directive = re.compile(r"\s*#\s*(define|undef|include|if|ifdef|ifndef|elif|else|endif|line)")
    for line in guests.source(name).splitlines():
        assert not directive.match(line), line
        assert len(line) <= 110, line


def test_the_common_part_is_the_same_everywhere() -> None:
    with_it = [name for name in ASM if COMMON in guests.source(name)]
    assert set(ASM) - set(with_it) == {"hello", "loop"}
    assert len({guests.source(name).split(COMMON)[1] for name in with_it}) == 1


# ---- the ELF files ----


@pytest.mark.parametrize("name", ASM)
def test_the_committed_file_is_what_our_assembler_makes(name: str) -> None:
    assert guests.load(name).read_bytes() == build.assemble(name)


@pytest.mark.skipif(
    build.installed_toolchain() != build.toolchain(), reason=f"needs {build.toolchain()}"
)
@pytest.mark.parametrize("name", C)
def test_the_committed_file_is_what_llvm_makes(name: str) -> None:
    assert guests.load(name).read_bytes() == build.compile_c(name)


def test_build_check_finds_a_stale_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "ELF", tmp_path)
    assert build.main(["hello"]) == 0
    assert (tmp_path / "hello.elf").read_bytes() == guests.load("hello").read_bytes()
    assert build.main(["--check", "hello"]) == 0
    (tmp_path / "hello.elf").write_bytes(b"old")
    assert build.main(["--check", "hello"]) == 1
    assert (tmp_path / "hello.elf").read_bytes() == b"old"
    assert "hello.elf is not what the source gives" in capsys.readouterr().out


# ---- on QEMU ----


@needs_qemu
@pytest.mark.parametrize("name", [name for name in guests.names() if name != "loop"])
def test_runs_unmodified_on_qemu(name: str, tmp_path: Path) -> None:
    guest = guests.info(name)
    expected = guest.console
    if guest.console_io_last is not None and version() >= IO_LAST_SINCE:
        expected = guest.console_io_last
    run = run_qemu(guest.elf, tmp_path, cpu=CPU_OF_THE_BOARD, stdin=guest.stdin.encode())
    assert (run.status, run.console) == (guest.exit_code, expected)


@needs_qemu
def test_loop_never_ends_on_qemu(tmp_path: Path) -> None:
    run = run_qemu(guests.load("loop"), tmp_path, cpu=CPU_OF_THE_BOARD, seconds=1)
    assert run.status < 0
    assert run.console == ""
