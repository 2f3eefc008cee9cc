"""Kinds of paragraphs for corners that chance alone seldom reaches, and the list of all kinds."""

from __future__ import annotations

from collections.abc import Callable

from .pieces import Pieces

#: A subroutine across the end of a page, the last of the data's; OVER_HIGH begins the next page.
OVER, OVER_HIGH, OVER_PAGE = "over", "over_high", 0x6000
_FP_CSRS = ("fflags", "frm", "fcsr")
_NS_PER_TICK = 100


def copy(p: Pieces) -> list[str]:
    """Copies that are used after what they were copied from has changed."""
    rng = p.rng
    first, *others = p.scratch(4)
    out, known = p.straight(1), [first]
    for name in others[: rng.randrange(1, 4)]:
        source = rng.choice((known[-1], known[-1], known[0], rng.choice(known)))
        if rng.random() < 0.15:
            source = "zero"
        ways = (f"mv {name}, {source}", f"mv {name}, {source}", f"add {name}, zero, {source}",
                f"ori {name}, {source}, 0", f"slli {name}, {source}, 0",
                f"li {name}, {rng.choice((0, -1, rng.randrange(-2048, 2048)))}")  # fmt: skip
        out.append(rng.choice(ways))
        known.append(name)
    for name in rng.sample(known, rng.randrange(1, len(known) + 1)):
        if rng.random() < 0.25:
            over = p.label()
            out += [p.branch(over), f"{over}:"]
        other, spare = rng.choice(known), others[-1]
        out.append(rng.choice((
            f"addi {name}, {name}, {rng.randrange(1, 32)}", f"xor {name}, {name}, {other}",
            f"{rng.choice(('lb', 'lh', 'lw', 'ld'))} {name}, {rng.randrange(0, 64, 8)}(s0)",
            f"mv {spare}, {name}; mv {name}, {other}; mv {other}, {spare}",
            f"not {name}, {name}", f"csrr {name}, mscratch",
        )))  # fmt: skip
        left, right = rng.choice(known), rng.choice(known)
        into = rng.choice(("t5", "t6", left))
        out.append(rng.choice((f"add {into}, {left}, {left}", f"sub {into}, {left}, {right}",
                               f"sd {left}, {rng.randrange(0, 64, 8)}(s0)")))  # fmt: skip
    return [*out, *(f"add t6, t6, {name}" for name in known)]


def rounding(p: Pieces) -> list[str]:
    """One view of fcsr is written, and another one read."""
    rng, (a, b, c) = p.rng, p.scratch(3)
    out = [f"li {a}, 0x6000; csrs mstatus, {a}"]
    for _ in range(rng.randrange(1, 4)):
        to, of = rng.sample(_FP_CSRS, 2)
        kind = rng.choice(("csrrw", "csrrw", "csrrs", "csrrc"))
        if rng.random() < 0.5:
            out.append(f"{kind}i {b}, {to}, {rng.randrange(1, 32)}")
        else:
            out += [f"li {c}, {rng.randrange(256)}", f"{kind} {b}, {to}, {c}"]
        out += [f"csrr {c}, {of}", *p.straight(1)]
    return out


def masked_user(p: Pieces) -> list[str]:
    """U mode with mstatus.MIE clear, which holds up no interrupt there: one that is pending
    already, or that comes while there."""
    rng, (a, b) = p.rng, p.scratch(2)
    there, bell = p.label(), f"li {b}, 1; sw {b}, 0(tp)"
    inside = p.body()
    early = rng.random() < 0.4
    if not early:
        at = rng.randrange(len(inside) + 1)
        inside[at:at] = [bell, *p.straight(2)]
    return [
        f"csrci mstatus, 8; csrsi mie, 8; {f'{bell}; ' if early else ''}"
        f"la {a}, {there}; csrw mepc, {a}; li {a}, 0x1880; csrc mstatus, {a}; mret",
        f"{there}:", *inside, *p.straight(1), "ecall", "csrsi mstatus, 8",
    ]  # fmt: skip


def _patch_across(p: Pieces, name: str) -> str:
    """Change the immediate in a slot by a store that begins below it."""
    rng, (a, b, c) = p.rng, p.scratch(3)
    size, before = rng.choice(((8, 4), (8, 4), (8, 3), (8, 2), (8, 1), (4, 1)))
    load, store = ("ld", "sd") if size == 8 else ("lwu", "sw")
    flip = rng.choice((0x10, 0x20, 0x40)) << 8 * (before + 2)  # bits 20 to 22
    return (f"la {a}, {name}; {load} {b}, -{before}({a}); li {c}, {flip:#x}; "
            f"xor {b}, {b}, {c}; {store} {b}, -{before}({a}); fence.i")  # fmt: skip


def patch_below(p: Pieces) -> list[str]:
    """A store that begins below a block changes its first instruction."""
    rng, top, name = p.rng, p.label(), p.label()
    back = rng.choice((top, name))
    return [f"li s11, {rng.randrange(3, 6)}", f"{top}:", *p.straight(1),
            *([f"j {name}"] if back == top else []), *p.slot(name), *p.straight(1),
            _patch_across(p, name), "addi s11, s11, -1", f"bnez s11, {back}"]  # fmt: skip


def patch_page(p: Pieces) -> list[str]:
    """A store across the end of a page, with code after it, and mostly before it as well."""
    rng, top = p.rng, p.label()
    p.over = True
    call = f"jal ra, {rng.choice((OVER, OVER_HIGH))}"
    return [f"li s11, {rng.randrange(2, 4)}", f"{top}:", call, _patch_across(p, OVER_HIGH),
            "addi s11, s11, -1", f"bnez s11, {top}", call]  # fmt: skip


def over(p: Pieces) -> list[str]:
    """What ``patch_page`` calls and changes."""
    low = [f"addi {name}, {name}, 1" for name in p.scratch(p.rng.choice((0, 1, 1, 3)))]
    return [
        f".org {OVER_PAGE - 4 * len(low):#x}", "## over", p.set_length(4),
        f"{OVER}:", *low, *p.slot(OVER_HIGH), *p.straight(1), "ret",
    ]  # fmt: skip


def mid_loop(p: Pieces) -> list[str]:
    """Under icount: a timer whose deadline falls into a loop that can be interrupted."""
    if p.icount is None or not p.timer:
        return masked_user(p)
    rng, top, (a, b) = p.rng, p.label(), p.scratch(2)
    ticks = rng.randrange(1, 2 + (p.icount << 1))
    inner = p.straight(rng.randrange(1, 4))
    wanted = (ticks * _NS_PER_TICK >> p.icount) + rng.randrange(10, 40)
    return [
        f"li {a}, 0x80; csrs mie, {a}; csrsi mstatus, 8; li {a}, 0x200bff8; ld {b}, 0({a}); "
        f"addi {b}, {b}, {ticks}; li {a}, 0x2004000; sd {b}, 0({a})",
        f"li s10, {wanted // (len(inner) + 2) + 1}", f"{top}:", *inner, "addi s10, s10, -1",
        f"bnez s10, {top}",
    ]  # fmt: skip


#: Paragraphs by kind, and how often they come.
KINDS: dict[str, tuple[Callable[[Pieces], list[str]], int]] = {
    "straight": (Pieces.straight, 6),
    "copy": (copy, 5),
    "ahead": (Pieces.ahead, 5),
    "selfloop": (Pieces.selfloop, 5),
    "loop": (Pieces.loop, 8),
    "call": (Pieces.call, 4),
    "trap": (Pieces.trap, 9),
    "user": (Pieces.user, 3),
    "masked_user": (masked_user, 3),
    "vector": (Pieces.vector, 2),
    "critical": (Pieces.critical, 4),
    "raised": (Pieces.raised, 4),
    "csr": (Pieces.csr, 4),
    "status": (Pieces.status, 2),
    "sleep": (Pieces.sleep, 2),
    "time": (Pieces.time, 3),
    "deadline": (Pieces.deadline, 2),
    "mid_loop": (mid_loop, 2),
    "patch_ahead": (Pieces.patch_ahead, 3),
    "patch_sub": (Pieces.patch_sub, 3),
    "patch_loop": (Pieces.patch_loop, 3),
    "patch_below": (patch_below, 2),
    "patch_page": (patch_page, 2),
    "atomic": (Pieces.atomic, 2),
    "fp": (Pieces.fp, 2),
    "rounding": (rounding, 3),
    "fence": (Pieces.fence, 2),
}
