# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 00 · Start here: one interrupt
#
# **The question.** An emulator has translated a program, block by block, into code for *your* computer. That code runs in a loop and asks nobody anything. Now you press a key. How does the program ever notice?
#
# A student asked the QEMU mailing list in 2020: *how does QEMU in TCG mode handle interrupts?* In ten minutes you will have watched the answer, and you will be able to
#
# - say what happens between "a device raises its line" and "the first instruction of the handler", in the right order;
# - read the timeline that all pictures here use;
# - refute by experiment that a device calls the handler, or that a running block is interrupted.
#
# Nothing here is a film: a RISC-V computer like QEMU's `virt` board runs while you press. **Run the next cell (Shift-Enter), then press *Ring*.**

# %% tags=["hero"]
from tcglite.lab.hero import first_interrupt

hero = first_interrupt()

# %%
from tcglite import lab

lab.doctor(quiet=True)
console = lab.InterruptConsole("echo")
console

# %% tags=["docassert"]
console.wait("running")
console.inject("uart", "h")
shot = console.wait(lambda s: s.taken >= 1 and "H" in s.output and s.recording.events)
assert console.last_error is None

# %% [markdown]
# You pressed a key of the guest's keyboard, and the guest answered with the same letter in the other case. It has a loop that counts, and a handler that it never calls.
#
# The picture holds still at your last key. Press *Freeze*; then *◀ mark* and *mark ▶* walk along the interrupt ①. This is how to read it:

# %%
lab.legend()

# %% [markdown]
# Look for the three signs ▼ ✕ ◆, in this order: the line goes up, a block **refuses**, the loop **takes** the interrupt.
#
# ## The same without your finger
#
# Where exactly your key fell is chance. So here is the smallest program with a loop and a handler, and a doorbell that rings right after instruction 116, on every computer, each time.

# %%
program = lab.bell()
program

# %% [markdown]
# The loop has three blocks. A block ends where the program may turn: `count` to `bnez` is one of 4 instructions, `fourth` is on the way every fourth round only.
#
# **Predict, before you run the next cell:** the doorbell rings when 2 of the 4 instructions of the first block have run. How many instructions of this block still run? Which block comes next, and how much of it?

# %%
from tcglite import Machine

machine = Machine(program, trace="blocks")
machine.raise_at(116, "msip")
machine.run(max_insns=180)
timeline = lab.Timeline(machine, window=(94, 142))
timeline

# %% tags=["docassert"]
from tcglite.trace.events import (
    BlockTranslated,
    InterruptTaken,
    LineRaised,
    Refused,
    TrapReturn,
)

events = machine.events
(raised,) = [e for e in events if isinstance(e, LineRaised) and e.line == "msip" and e.level]
(refused,) = [e for e in events if isinstance(e, Refused)]
(taken,) = [e for e in events if isinstance(e, InterruptTaken)]
assert (raised.insns, refused.insns, taken.insns) == (116, 118, 118)
assert refused.count == 3 and taken.epc == refused.pc == program.symbols["every"]
assert sum(isinstance(e, BlockTranslated) and e.pc == refused.pc for e in events) == 1
assert "raised in D 2/4" in timeline.text and "E refused 0/3" in timeline.text
assert "2 instructions · 1 block" in timeline.text

# %% [markdown]
# Read it from left to right.
#
# 1. ▼ The line goes up in the middle of D, and with it the exit flag ⚑. **D runs to its end**: nothing in the middle of a block looks at anything.
# 2. ✕ D jumps to E, as always. E is *entered* and **refuses**: a dashed box, 0 of its 3 instructions. Its first host instructions test the flag.
# 3. ◆ Back in the loop, and only there, the guest is made to trap: `mepc` is the address of E. The pale band is the handler, block G.
# 4. `mret` sets the PC to `mepc`. The loop finds (F) the block for that address: **the same E, not translated (T) again**. That is the arc.
#
# From the raise to the handler: 2 instructions, 1 block. The same as text, for those who prefer to read:

# %%
print(timeline.text)

# %% [markdown]
# ## Bet
#
# Now you. The doorbell rings in the last block of the picture. **Which block will `mepc` name**, the register that says where the guest was interrupted?
# Choose a letter, *Place the bet*; *Another* deals the next. Five right in a row, and you know.

# %%
bet = lab.Bet(seed=1)
bet

# %% tags=["docassert"]
assert bet.place(bet.round.answer).startswith("Right.")
assert bet.last_error is None

# %% [markdown]
# ## Does the device call the handler?
#
# Two machines, one button. One looks at the exit flag at the head of each block, as QEMU does. In its twin, that test has been left out of the code; nothing else differs.
#
# **Predict** what each will do when you press *Ring* ten times. Then press.

# %%
twins = lab.InterruptConsole("echo", twin=True)
twins

# %% tags=["docassert"]
twins.wait("running")
twins.wait(lambda s: min(s.main.insns, s.twin.insns) > 100_000)
for letter in "abc":
    twins.inject("uart", letter)
shot = twins.wait(lambda s: s.output.endswith("ABC"))
assert shot.twin.taken == 0 and shot.twin.pressed == 3 and "ABC" not in shot.twin.output
twins.stop()

# %% [markdown]
# The twin's line is up, its request is pending, and on it runs. A device cannot call anything: it raises a line and sets a flag, and **the code has to look**. (*Freeze* makes a watchdog tear the twin's chain of blocks apart.
# Press *Go*, and the loop finds the request at once.) A well-known emulator is deaf in just this way.
#
# ## What the maintainer said
#
# The answer on the list, statement by statement, and the sign that shows each. You have seen 1 to 7 and 9; the others are a matter of other guests.

# %%
lab.mail()

# %% [markdown]
# ## Is it true?
#
# A translator that draws nice pictures may still compute nonsense. So the same guest runs once more, and Unicorn, which is made from QEMU's own code, does what it does: whenever tcglite is in its loop, all registers are compared. And the traps are compared with those that a real QEMU took.

# %%
report = lab.crosscheck("echo")
report

# %% tags=["docassert"]
assert repr(report).count("✓ echo") == 2 and "✗" not in repr(report)

# %% [markdown]
# ## What to remember
#
# - Interrupts are taken **between** blocks. A block that has begun runs to its end.
# - Chained blocks do not come back by themselves. So **each block looks at a flag first**, and one that finds it set returns without having done anything.
# - The flag only says "come back to the loop". Whether there is an interrupt, and whether the guest wants it now, is asked there.
# - Nobody remembers the refused block. The guest returns to the address in `mepc`, and there it is, still translated.
#
# **In QEMU** the loop is `cpu_exec` in `accel/tcg/cpu-exec.c`, with `cpu_handle_exception` and `cpu_handle_interrupt`; the test at the head comes from `gen_tb_start` (2020: `include/exec/gen-icount.h`, today: `accel/tcg/translator.c`); the flag
# is the upper half of `icount_decr`, set by `cpu_interrupt` and `cpu_exit`. Rooms and names are the same here. **Where tcglite is simpler:** it translates for one kind of host, x86-64 (on others host code is Python functions), and for one hart. A key that you
# press is shown on the seam of two blocks: another thread raises it while host code runs, and nobody knows how far the block had come. The doorbell above came at a number, so its place is exact.

# %%
from tcglite.accel.cpu_exec import cpu_exec_loop

lab.source(cpu_exec_loop)

# %% [markdown]
# **Quiz.** Think first, then open.
#
# <details><summary>A timer fires while a block of 200 instructions is at its third. When does the handler begin?</summary>After the block's last instruction: it runs to its end, and the next block refuses.</details>
# <details><summary>The guest has interrupts switched off, and a timer fires. How many blocks are refused?</summary>At most one. The loop looks, sees that the guest does not want it, and runs on with the flag down again. The request waits for the guest.</details>
# <details><summary>The handler adds 4 to mepc before it returns. Which block runs next?</summary>The one at that address, if need be translated now. The refused block has no claim.</details>
#
# **Three ways on.**
#
# - *You have ten minutes more:* the folded part below: the words, RISC-V on one page, and things to try.
# - *You want to read how it is made:* five functions in this order, each with `lab.source(...)`: `cpu_exec_loop`, `tb_find`, `tb_gen_code`, `cpu_loop_exec_tb`, `cpu_handle_interrupt`.
# - *You know QEMU:* `tcg/` is the IR and its optimiser, `target/` the guest, `accel/` the loop, the cache and the chains, `hw/` the board. In a terminal: `tcglite run timer -d in_asm,op,exec,int`.

# %% [markdown] tags=["deeper"]
# ## Deeper: words, RISC-V, things to try

# %%
lab.words()

# %%
lab.riscv()

# %% [markdown]
# ### Things to try
#
# - `lab.InterruptConsole("timer")`: ten ticks by itself, and yours. Open *More ways to interrupt*, let the line go up at random, watch the histogram. How long are its bars' blocks?
# - Press *Doorbell* there on `echo`: the line goes up and stays up. Nothing is taken. Why? (`mie`, in the RISC-V page.)
# - Change `raise_at(116, …)` to 117, 118, 119 and say each time, before you run it, who refuses.
# - Give the handler one more line before `mret`, `csrw mepc, …`, and see that nobody remembers:

# %%
from tcglite.target.asm import assemble

mine = assemble(lab.bell().source.replace("mret", "la t2, fourth\n csrw mepc, t2\n mret"))
other = Machine(mine, trace="blocks")
other.raise_at(116, "msip")
other.run(max_insns=180)
elsewhere = lab.Timeline(other, window=(94, 142))
elsewhere

# %% tags=["docassert"]
assert "E refused 0/3" in elsewhere.text
(back,) = [e for e in other.events if isinstance(e, TrapReturn)]
assert back.pc == mine.symbols["fourth"]
lab.stop_all()

# %% [markdown]
# ---
# Text and pictures: CC BY 4.0. Code: MIT. The mail is cited, not copied: qemu-devel, Peter Maydell, *Re: How does QEMU in TCG mode handle interrupts ?*, 25 August 2020.
