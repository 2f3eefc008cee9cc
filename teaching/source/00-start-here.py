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
# **The question.** A program runs in an emulator that has translated it to the machine code of *this* computer. The code runs in a loop that nothing
# stops. Now you press a key. How does the program ever notice?
#
# That is the question of a student to the QEMU mailing list in 2020: *how does QEMU in TCG mode handle interrupts?* In ten minutes you will have
# seen the answer happen, and be able to
#
# - say what happens between "a device raises its line" and "the first instruction of the handler", in the right order;
# - read the timeline that all pictures here use;
# - refute, with an experiment, that a device calls the handler, or that a running block is interrupted.
#
# Nothing here is a film. The guest is a RISC-V computer like QEMU's `virt` board; its program is translated block by block, as in QEMU, and runs while
# you press. **Run the next cell** (Shift-Enter) **and press *Ring*.**

# %% tags=["hero"]
from tcglite.lab.hero import first_interrupt

hero = first_interrupt()

# %%
from tcglite import lab

lab.doctor(quiet=True)
console = lab.InterruptConsole("echo")
console

# %% tags=["docassert"]
shot = console.wait("running")
console.inject("uart", "h")
shot = console.wait(lambda s: s.taken >= 1 and "H" in s.output)
assert console.last_error is None

# %% [markdown]
# You pressed a key of the guest's keyboard; the guest answered with the same letter in the other case. The picture shows the few dozen instructions around that moment.
# The guest counts in a loop of three blocks, and would do so for ever.
#
# Press *Freeze*, then *◀ mark* and *mark ▶* to walk along the interrupt ①. Read it with this strip:

# %%
lab.legend()

# %% [markdown]
# **Look for three things.**
#
# 1. ▼ The line goes up in the middle of a block. Does that block stop? (No: its box is whole.)
# 2. ✕ The next block was *entered* and **refused**: a dashed box, `0/n`. Its first host instructions test the exit flag ⚑, and they found it set.
# 3. ◆ The loop takes the interrupt. The guest's handler is the pale band. Where the arc ends, the refused block runs after all. It was not translated again: it is the same host code.
#
# The live picture depends on the millisecond in which you pressed. Here is the same, without your finger and the same on every computer: the timer's line goes up right after
# instruction 450.

# %%
from tcglite import Machine, guests

machine = Machine(guests.load("timer"), trace="blocks")
machine.raise_at(450, "mtip")
machine.run(max_insns=480)
timeline = lab.Timeline(machine, window=(425, 475))
timeline

# %%
print(timeline.text)

# %% [markdown]
# ## Bet
#
# Before you see it: the line goes up right after one instruction of the loop. **Which block's address will the guest find in `mepc`**, the register that says where it was interrupted?
# Choose a letter, *Place the bet*. *Another* deals a new one. Three right in a row, and you have understood more than most.

# %%
bet = lab.Bet("timer", seed=1)
bet

# %% [markdown]
# ## Does the device call the handler?
#
# Two machines, one button. The left one looks at the exit flag at the head of each block, as QEMU does. In the right one that test has been left out of the code; nothing else differs.
# **Predict** what each will do when you press *Ring* ten times. Then run, and press.

# %%
twins = lab.InterruptConsole("echo", twin=True)
twins

# %% [markdown]
# The line of the deaf twin is high, its request is pending, and it runs on: nobody comes to fetch it out of its chained blocks. A device cannot call anything. It raises a line and sets a flag;
# **the code has to look**. (When you freeze the panel, a watchdog tears the twin's chain apart to stop it. Back in the loop it finds the request at once.)
#
# ## What the maintainer said
#
# The answer on the list, statement by statement, with the mark that shows each:

# %%
lab.mail()

# %% [markdown]
# ## Is it true?
#
# A translator that shows nice pictures may still compute nonsense. So the same guest runs in Unicorn, which is made from QEMU's own code, beside tcglite; after every 20 instructions the program
# counter and all registers must be equal.

# %%
lab.crosscheck("echo", insns=2000, start=2000)

# %% [markdown]
# ## What to remember
#
# - Interrupts are taken **between** blocks. What runs, runs to its end.
# - Chained blocks never come back by themselves. So each block **looks at a flag first**, and one that finds it set returns without having done anything.
# - The flag only says "come back to the loop". The loop looks whether there is an interrupt, and whether the guest wants it.
# - Nobody remembers the refused block. The guest returns to the address in `mepc`, and there it is, still translated.
#
# **In QEMU** — 2020 and today: the loop is `cpu_exec` in `accel/tcg/cpu-exec.c`, with `cpu_handle_exception` and `cpu_handle_interrupt`; the test at the head is made by `gen_tb_start` (`include/exec/gen-icount.h`; today in
# `accel/tcg/translator.c`); the flag is the upper half of `icount_decr`, set by `cpu_exit` and `cpu_interrupt`. The same names are used here:

# %%
from tcglite.accel.cpu_exec import cpu_exec

lab.source(cpu_exec)

# %% [markdown]
# **Quiz.** Think first, then open.
#
# <details><summary>A timer fires while block A, 200 instructions long, is at its 3rd instruction. When does the handler begin?</summary>After A's 200th instruction: A runs to its end, the next block is refused.</details>
# <details><summary>The guest has switched interrupts off and the timer fires. How many blocks are refused?</summary>At most one. The loop looks, sees that the guest does not want it, and goes on; the flag is down again, the request waits for the guest.</details>
# <details><summary>What would break if the test came at the end of each block instead?</summary>Nothing, if it is done on each way out. It is a matter of taste and of cost; some emulators do.</details>
#
# **Three ways on.**
#
# - *You have ten minutes more:* the folded part below: the words, RISC-V on one page, a machine in your own hands.
# - *You want to read how it works:* five functions in order, with `lab.source(...)`: `cpu_exec`, `tb_lookup`, `tb_gen_code`, `cpu_loop_exec_tb`, `cpu_handle_interrupt`. Six steps, one screen each.
# - *You know QEMU:* rooms and names are the same. `tcg/` is the IR and its optimiser, `target/` the guest, `accel/` the loop, the cache and the chains, `hw/` the board. In a terminal: `tcglite run timer -d in_asm,op,exec,int`.

# %% [markdown]
# ## Deeper: words, RISC-V, a machine of your own

# %% [markdown] tags=["deeper"]
# ### Two pages to keep

# %%
lab.words()

# %%
lab.riscv()
