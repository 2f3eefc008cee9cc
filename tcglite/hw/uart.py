"""UART 16550A (QEMU: ``hw/char/serial.c``, ``serial-mm``), PLIC source 10 on ``virt``.

Transmission takes no time, as in QEMU: LSR shows THRE and TEMT always, and each store to THR sets
the "THR empty" condition at once. Received bytes wait in a FIFO of 16 (one byte while the FIFO is
off); what is typed beyond that waits in the console and follows when the guest reads RBR, so the
line never overruns. (Stores in loopback do: LSR.OE.)

Interrupts, by priority (IIR value): receiver line status (6), character timeout (c), received data
(4), THR empty (2). Measured on ``virt`` (QEMU 7.2.22), and so here:

* Reading IIR clears "THR empty" if that is what it shows. Setting IER.THRI raises it again (THR is
  always empty); storing the same IER again does not. A store to FCR that clears the transmitter,
  or turns the FIFO on or off, raises it too.
* Received data: with the FIFO on while at least 1, 4, 8 or 14 bytes (FCR 7:6) wait; with it off
  while a byte waits. The timeout comes four character times after the last byte arrived or was
  read, if one still waits; reading RBR clears it. A character takes 10/9600 s until DLL, DLM or
  LCR is stored, then (1 + data + parity + stop bits) * divisor / 399193 s.
* The line is driven anew, which to the PLIC is a new request while it is high, on: a load from
  RBR; a load from IIR that clears THRE; a load from LSR that clears OE; a store to THR or FCR; a
  store to IER that changes it. On nothing else.

=======  =====================  =====================================================
offset   sizes                  what
=======  =====================  =====================================================
0        1, 2, 4, 8             RBR, THR; DLL while LCR.DLAB
1        1                      IER (4 bits); DLM while LCR.DLAB
2        1, 2                   IIR; FCR (bits 7, 6, 3, 0 kept)
3        1                      LCR
4        1, 2, 4                MCR (5 bits, 08 at reset)
5        1                      LSR; stores ignored
6        1, 2                   MSR: b0 (no modem changes), in loopback from MCR; stores
                                ignored
7        1                      SCR
8 - ff   none                   access fault
=======  =====================  =====================================================

A wide load gives the one register at its offset, zero extended; a wide store stores its low byte
there. RBR gives 0 when the FIFO is empty, and the last byte again with the FIFO off.

Simplifications: no break, framing or parity errors and no modem lines (MSR deltas); divisor 0
leaves the character time as it was. While MCR.LOOP is set nothing arrives from the console.
Two differences on purpose. The FIFO is filled at once; QEMU fills it from the host when its main
loop comes by, first up to the trigger level only. And QEMU drops what the receiver held when FCR
clears it (or turns the FIFO on or off) and takes no more input until RBR is read; here typed bytes
go back to the console and come again at once, so nothing that a user types is lost.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from ..accel.memory import MemTxError
from .clock import VirtualClock
from .console import Console

REGISTERS = 8
FIFO_SIZE = 16
BAUD_BASE = 399193           # divisor 1, in bits per second, on `virt`

RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR = range(REGISTERS)
FCR = IIR
THR = RBR

IER_RDI, IER_THRI, IER_RLSI = 1, 2, 4
IIR_NONE, IIR_THRI, IIR_RDI, IIR_RLSI, IIR_CTI, IIR_FIFO = 1, 2, 4, 6, 0x0C, 0xC0
FCR_ENABLE, FCR_CLEAR_RX, FCR_CLEAR_TX, FCR_KEPT = 1, 2, 4, 0xC9
TRIGGER = (1, 4, 8, 14)
LCR_DLAB = 0x80
MCR_LOOP, MCR_OUT2 = 0x10, 0x08
LSR_DR, LSR_OE, LSR_TX_EMPTY = 1, 2, 0x60
MSR_CONNECTED = 0xB0


class Uart:
    """``irq(level)`` drives the interrupt line; it is called each time QEMU's model drives it."""

    name = "uart"

    def __init__(self, console: Console, clock: VirtualClock, lock: threading.RLock,
                 irq: Callable[[int], None]) -> None:
        self.console = console
        self._lock = lock
        self._irq = irq
        self._timer = clock.timer(self._timed_out)
        self._now = clock.now
        console.readers.append(self._typed)
        self._clear()

    def _clear(self) -> None:
        self.ier = self.fcr = self.lcr = self.scr = 0
        self.mcr = MCR_OUT2
        self.divisor = 12
        self._character_ns = 10 * 10**9 // 9600
        self._thr_empty = False          # the condition, as opposed to LSR.THRE
        self._overrun = False
        self._timeout = False
        # What waits to be read: (byte, whether it came from the console).
        self._received: deque[tuple[int, bool]] = deque()
        self._rbr = 0
        self._iir = IIR_NONE

    def reset(self) -> None:
        """Power-on values, line low, FIFO empty."""
        self._clear()
        self._timer.modify(None)
        self._update_irq()

    @property
    def output(self) -> bytes:
        """What the guest printed since reset."""
        return self.console.output

    def type(self, data: str | bytes) -> None:
        """The user types ``data`` (text as UTF-8). From any thread; takes the lock."""
        with self._lock:
            self.console.type(data)

    def take(self) -> int | None:
        """The oldest typed byte that the guest has not read, for a second way to the console."""
        if not self._received:
            return self.console.typed.popleft() if self.console.typed else None
        byte = self._next()
        self._fetch()
        self._update_irq()
        return byte

    # -- registers ----------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> int:
        _check(offset, size)
        if self.lcr & LCR_DLAB and offset <= IER:
            return self.divisor >> 8 * offset & 0xFF
        if offset == RBR:
            return self._read_rbr()
        if offset == IER:
            return self.ier
        if offset == IIR:
            value = self._iir
            if value & 0x0F == IIR_THRI:
                self._thr_empty = False
                self._update_irq()
            return value
        if offset == LCR:
            return self.lcr
        if offset == MCR:
            return self.mcr
        if offset == LSR:
            value = self._lsr()
            if self._overrun:
                self._overrun = False
                self._update_irq()
            return value
        if offset == MSR:
            return self._msr()
        return self.scr

    def write(self, offset: int, size: int, value: int) -> None:
        _check(offset, size)
        value &= 0xFF
        if self.lcr & LCR_DLAB and offset <= IER:
            shift = 8 * offset
            self.divisor = self.divisor & ~(0xFF << shift) | value << shift
            self._update_character_time()
        elif offset == THR:
            self._transmit(value)
        elif offset == IER:
            self._write_ier(value & 0x0F)
        elif offset == FCR:
            self._write_fcr(value)
        elif offset == LCR:
            self.lcr = value
            self._update_character_time()
        elif offset == MCR:
            self.mcr = value & 0x1F
            self._typed()
        elif offset == SCR:
            self.scr = value

    def _lsr(self) -> int:
        return (LSR_TX_EMPTY | (LSR_OE if self._overrun else 0)
                | (LSR_DR if self._received else 0))

    def _msr(self) -> int:
        if not self.mcr & MCR_LOOP:
            return MSR_CONNECTED
        # The four outputs loop back to the inputs: OUT1, OUT2 to RI, DCD; DTR to DSR; RTS to CTS.
        return (self.mcr & 0x0C) << 4 | (self.mcr & 0x01) << 5 | (self.mcr & 0x02) << 3

    def _write_ier(self, value: int) -> None:
        changed = value ^ self.ier
        if not changed:
            return
        self.ier = value
        if changed & IER_THRI:
            self._thr_empty = bool(value & IER_THRI)
        self._update_irq()

    def _write_fcr(self, value: int) -> None:
        if (value ^ self.fcr) & FCR_ENABLE:
            value |= FCR_CLEAR_RX | FCR_CLEAR_TX
        self.fcr = value & FCR_KEPT
        if value & FCR_CLEAR_RX:
            typed = [byte for byte, from_console in self._received if from_console]
            self.console.typed.extendleft(reversed(typed))
            self._received.clear()
            self._timeout = False
            self._timer.modify(None)
            self._fetch()
        if value & FCR_CLEAR_TX:
            self._thr_empty = True
        self._update_irq()

    def _transmit(self, byte: int) -> None:
        if self.mcr & MCR_LOOP:
            self._receive(byte, from_console=False)
        else:
            self.console.print(bytes((byte,)))
        self._thr_empty = True
        self._update_irq()

    # -- the receiver -------------------------------------------------------------------------

    def _capacity(self) -> int:
        return FIFO_SIZE if self.fcr & FCR_ENABLE else 1

    def _typed(self) -> None:
        if self._fetch():
            self._update_irq()

    def _fetch(self) -> bool:
        """Take from the console what there is room for; whether anything came."""
        typed = self.console.typed
        came = False
        while typed and len(self._received) < self._capacity() and not self.mcr & MCR_LOOP:
            self._receive(typed.popleft(), from_console=True)
            came = True
        return came

    def _receive(self, byte: int, from_console: bool) -> None:
        fifo = self.fcr & FCR_ENABLE
        if len(self._received) >= self._capacity():
            self._overrun = True
            if fifo:
                return               # a full FIFO drops the new byte
            self._received.clear()   # without one, the new byte replaces the old
        self._received.append((byte, from_console))
        if fifo:
            self._restart_timeout()

    def _next(self) -> int:
        self._rbr, _ = self._received.popleft()
        return self._rbr

    def _read_rbr(self) -> int:
        if self._received:
            value = self._next()
        else:
            value = 0 if self.fcr & FCR_ENABLE else self._rbr
        self._timeout = False
        if self.fcr & FCR_ENABLE and self._received:
            self._restart_timeout()
        self._fetch()
        self._update_irq()
        return value

    def _restart_timeout(self) -> None:
        self._timer.modify(self._now() + 4 * self._character_ns)

    def _timed_out(self) -> None:
        if self._received:
            self._timeout = True
            self._update_irq()

    def _update_character_time(self) -> None:
        if self.divisor:
            data = 5 + (self.lcr & 3)
            parity = self.lcr >> 3 & 1
            stop = 1 + (self.lcr >> 2 & 1)
            self._character_ns = (1 + data + parity + stop) * self.divisor * 10**9 // BAUD_BASE

    # -- the interrupt ------------------------------------------------------------------------

    def _pending(self) -> int:
        """The IIR value of the most urgent enabled condition."""
        if self.ier & IER_RLSI and self._overrun:
            return IIR_RLSI
        if self.ier & IER_RDI and self._timeout:
            return IIR_CTI
        trigger = TRIGGER[self.fcr >> 6] if self.fcr & FCR_ENABLE else 1
        if self.ier & IER_RDI and len(self._received) >= trigger:
            return IIR_RDI
        if self.ier & IER_THRI and self._thr_empty:
            return IIR_THRI
        return IIR_NONE

    def _update_irq(self) -> None:
        pending = self._pending()
        self._iir = pending | (IIR_FIFO if self.fcr & FCR_ENABLE else 0)
        self._irq(0 if pending == IIR_NONE else 1)


def _check(offset: int, size: int) -> None:
    if offset >= REGISTERS or offset % size:
        raise MemTxError
