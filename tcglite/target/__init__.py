"""The RISC-V guest: state, decoding, translation, CSRs, traps (QEMU: ``target/riscv/``).

RV64IMAC + Zicsr + Zifencei in M and U modes, one hart, physical addresses. Knows no devices and no
block cache: what it needs of the accelerator it gets as the ``cpu`` argument of its functions.
"""

from . import trans_int as trans_int
from . import trans_sys as trans_sys
