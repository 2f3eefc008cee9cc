"""The device tree that tells Spike what to build, in the binary form of the Devicetree
Specification 0.4, chapter 5. Spike would make one with the program ``dtc``, which not everybody
has; and a tree of ours puts CLINT and PLIC where we want them.
"""

from __future__ import annotations

import struct
from typing import Any

_MAGIC, _VERSION, _COMPATIBLE = 0xD00DFEED, 17, 16
_BEGIN_NODE, _END_NODE, _PROP, _END = 1, 2, 3, 9
_HEADER, _RESERVED = 40, bytes(16)  # bytes; an empty memory reservation block


def tree(isa: str, clint: int, plic: int) -> dict[str, Any]:
    """One hart, and the two interrupt controllers at these addresses. Numbers are cells, lists are
    several of them, True is a property without a value, and a dictionary is a node."""
    return {
        "#address-cells": 2, "#size-cells": 2,
        "cpus": {
            "#address-cells": 1, "#size-cells": 0, "timebase-frequency": 10_000_000,
            "cpu@0": {
                "device_type": "cpu", "reg": 0, "status": "okay", "compatible": "riscv",
                "riscv,isa": isa, "riscv,pmpregions": 16, "riscv,pmpgranularity": 4,
                "interrupt-controller": {
                    "#address-cells": 0, "#interrupt-cells": 1, "interrupt-controller": True,
                    "compatible": "riscv,cpu-intc", "phandle": 1,
                },
            },
        },
        "soc": {
            "#address-cells": 2, "#size-cells": 2, "compatible": "simple-bus",
            f"clint@{clint:x}": {
                "compatible": "riscv,clint0", "interrupts-extended": [1, 3, 1, 7],
                "reg": [clint >> 32, clint & 0xFFFF_FFFF, 0, 0xC_0000],
            },
            f"plic@{plic:x}": {
                "compatible": "riscv,plic0", "interrupts-extended": [1, 11],
                "#address-cells": 0, "#interrupt-cells": 1, "interrupt-controller": True,
                "reg": [plic >> 32, plic & 0xFFFF_FFFF, 0, 0x100_0000],
                "riscv,ndev": 31, "riscv,max-priority": 7,
            },
        },
    }  # fmt: skip


def blob(root: dict[str, Any]) -> bytes:
    """The tree as a file."""
    strings = bytearray()
    body = _node("", root, strings) + struct.pack(">I", _END)
    start = _HEADER + len(_RESERVED)
    header = struct.pack(
        ">10I", _MAGIC, start + len(body) + len(strings), start, start + len(body), _HEADER,
        _VERSION, _COMPATIBLE, 0, len(strings), len(body),
    )  # fmt: skip
    return header + _RESERVED + body + bytes(strings)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _node(name: str, node: dict[str, Any], strings: bytearray) -> bytes:
    """A node; the names of its properties go into ``strings``."""
    out = struct.pack(">I", _BEGIN_NODE) + _padded(name.encode() + b"\0")
    for key, value in node.items():  # properties come first
        if not isinstance(value, dict):
            data = _value(value)
            out += struct.pack(">3I", _PROP, len(data), len(strings)) + _padded(data)
            strings += key.encode() + b"\0"
    for key, value in node.items():
        if isinstance(value, dict):
            out += _node(key, value, strings)
    return out + struct.pack(">I", _END_NODE)


def _value(value: Any) -> bytes:
    if value is True:
        return b""
    if isinstance(value, str):
        return value.encode() + b"\0"
    cells = value if isinstance(value, list) else [value]
    return struct.pack(f">{len(cells)}I", *cells)
