"""From an instruction row and the values of its fields to bits; the inverse of `decode`."""

from __future__ import annotations

from collections.abc import Mapping

from tcglite.target.insns import COMPRESSED_ROWS, ROWS, Row

_COMPRESSED_FOR: dict[Row, list[Row]] = {}
for _row in COMPRESSED_ROWS:
    assert _row.base
    _COMPRESSED_FOR.setdefault(_row.base, []).append(_row)

_COMMUTATIVE = ("add", "addw", "and", "or", "xor", "beq", "bne")


def encode(row: Row, fields: Mapping[str, int]) -> int:
    """The bits of an instruction whose fields all fit; ignored bits are 0."""
    bits = row.value
    for field in row.fields:
        bits |= field.insert(fields[field.name])
    return bits


def _variants(row: Row, fields: dict[str, int]) -> list[tuple[Row, dict[str, int]]]:
    """Instructions that do the same as this one, itself first."""
    variants = [(row, fields)]
    if row.name == "addi" and fields.get("imm") == 0:
        variants.append((ROWS["add"], {"rd": fields["rd"], "rs1": 0, "rs2": fields["rs1"]}))
    if row.name == "addiw" and fields["rs1"] == 0:
        variants.append((ROWS["addi"], fields))
    if row.name in _COMMUTATIVE:
        swapped = {"rs1": fields["rs2"], "rs2": fields["rs1"]}
        variants.append((row, fields | swapped))
    return variants


def _fit(row: Row, fields: dict[str, int]) -> dict[str, int] | None:
    """The fields of the compressed row that stands for its base row with `fields`."""
    own: dict[str, int] = {}
    for name, source in row.expansion:
        if name not in fields:  # an immediate that is not known yet
            continue
        value = fields[name]
        if isinstance(source, int):
            if value != source:
                return None
        elif own.setdefault(source, value) != value:
            return None
    for field in row.fields:
        if field.name in own and not field.fits(own[field.name]):
            return None
    if any(own.get(name) == value for name, value in row.where + row.hints):
        return None
    return own


def compress(row: Row, fields: dict[str, int]) -> tuple[Row, dict[str, int]] | None:
    """The compressed form, as LLVM chooses it: the first row that fits and is no hint.

    `fields` without `imm` ask for a branch or jump whose distance is not known yet.
    """
    for variant, values in _variants(row, fields):
        for candidate in _COMPRESSED_FOR.get(variant, ()):
            own = _fit(candidate, values)
            if own is not None:
                return candidate, own
    return None


def expand(row: Row, fields: dict[str, int]) -> tuple[Row, dict[str, int]]:
    """The base instruction of a compressed one."""
    assert row.base
    base = {
        name: source if isinstance(source, int) else fields[source]
        for name, source in row.expansion
        if isinstance(source, int) or source in fields
    }
    return row.base, base
