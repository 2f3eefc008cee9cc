"""From the front end's ops to fewer ops (QEMU: tcg/optimize.c, liveness in tcg/tcg.c).

One forward pass (copies, constants, the identities that guests hit most), then one backward pass
that drops what nobody reads. Guest registers count as read wherever code may leave the block or
raise, so no write is lost that a restored state could need; facts may flow across such a place.
"""

from __future__ import annotations

from .ir import CONST, GLOBAL, Builder, Label, Op, Temp
from .ops import BB_END, BB_EXIT, COND_EXIT, FOLD_COND, MAY_RAISE, OPS, SIDE_EFFECT, M


def optimize(builder: Builder) -> list[Op]:
    """The block's ops after all passes; the builder's own list is left as it was."""
    return liveness(reachable(fold([op.copy() for op in builder.ops], builder)))


def fold(ops: list[Op], builder: Builder) -> list[Op]:
    """Propagate copies and constants; an op with a known result becomes a ``mov``."""
    known: dict[Temp, Temp] = {}  # temp -> an equal temp or constant
    users: dict[Temp, list[Temp]] = {}  # temp -> temps that are known to equal it
    out: list[Op] = []
    mov = OPS["mov"]

    def forget(temp: Temp) -> None:
        known.pop(temp, None)
        for user in users.pop(temp, ()):
            if known.get(user) is temp:
                del known[user]

    for op in ops:
        args = op.args
        opdef = op.opdef
        n = op.outs + op.ins
        if known:
            for i in range(op.outs, n):
                same = known.get(args[i])
                if same is not None:
                    args[i] = same
        if opdef.name == "call":
            if not args[-1].pure_state:
                for temp in [t for t in known if t.kind == GLOBAL]:
                    forget(temp)
                for temp in [t for t in users if t.kind == GLOBAL]:
                    forget(temp)
        elif opdef.flags & BB_END:
            known.clear()
            users.clear()
        elif opdef.name == "brcond" and args[0].kind == args[1].kind == CONST:
            if FOLD_COND[args[2]](args[0].value, args[1].value):
                # always taken: what lies before the label cannot run
                out.append(Op(OPS["brcond"], args, 0, 2))
                continue
            continue
        elif op.outs:
            result = _result(op, builder)
            if result is not None:
                op = Op(mov, [args[0], result], 1, 1)
                args = op.args
        for i in range(op.outs):
            forget(args[i])
        if op.opdef is mov:
            dest, source = args
            if dest is source:
                continue
            known[dest] = source
            if source.kind != CONST:
                users.setdefault(source, []).append(dest)
        out.append(op)
    return out


def _result(op: Op, builder: Builder) -> Temp | None:
    """The temp or constant that ``op``'s output is known to equal, or None."""
    name, args = op.opdef.name, op.args
    if name == "mov":
        return args[1]
    if name == "setcond":
        a, b, cond = args[1:4]
        if a.kind == b.kind == CONST:
            return builder.const(int(FOLD_COND[cond](a.value, b.value)))
        return None
    if name == "movcond":
        c1, c2, v1, v2, cond = args[1:6]
        if c1.kind == c2.kind == CONST:
            return v1 if FOLD_COND[cond](c1.value, c2.value) else v2
        return None
    fn = op.opdef.fold
    if fn is None:
        return None
    if op.ins == 1:
        return builder.const(fn(args[1].value)) if args[1].kind == CONST else None
    a, b = args[1], args[2]
    if a.kind == CONST:
        if b.kind == CONST:
            if name in ("div", "divu", "rem", "remu") and not b.value:
                return None
            return builder.const(fn(a.value, b.value))
        if name in ("add", "or", "xor") and a.value == 0:
            return b
        if name in ("and", "mul") and a.value == 0:
            return a
    elif b.kind == CONST:
        if b.value == 0:
            if name in ("add", "sub", "or", "xor", "shl", "shr", "sar"):
                return a
            if name in ("and", "mul"):
                return b
        elif name == "and" and b.value == M:
            return a
    elif a is b and name in ("xor", "sub"):
        return builder.const(0)
    return None


def reachable(ops: list[Op]) -> list[Op]:
    """Drop what follows an op that never falls through, up to a label that is jumped to.

    ``insn_start`` stays: the search data counts on one row for each instruction.
    """
    targets = {op.args[3] for op in ops if op.opdef.name == "brcond"}
    out: list[Op] = []
    dead = False
    always = None  # label of a branch that is always taken
    for op in ops:
        name = op.opdef.name
        if name == "set_label":
            if op.args[0] is always:
                always, dead = None, False
                continue
            if op.args[0] not in targets:
                continue
            dead = dead and always is not None
        elif dead and name != "insn_start":
            if name == "brcond":
                targets.discard(op.args[3])
            continue
        elif name == "brcond" and op.args[0].kind == op.args[1].kind == CONST:
            always, dead = op.args[3], True
            continue
        elif op.opdef.flags & BB_EXIT or (name == "call" and op.args[-1].noreturn):
            dead = True
        out.append(op)
    return out


def liveness(ops: list[Op]) -> list[Op]:
    """Drop ops whose outputs nobody reads; note which arguments die at each op that stays."""
    live: set[Temp] = set()
    live_at: dict[Label, set[Temp]] = {}
    dead_globals: set[Temp] = set()  # globals that will be written before anybody reads them
    out: list[Op] = []
    for op in reversed(ops):
        flags = op.opdef.flags
        args = op.args
        outs, n = op.outs, op.outs + op.ins
        is_call = op.opdef.name == "call"
        if outs and not flags & (SIDE_EFFECT | MAY_RAISE):
            dest = args[0]
            if (dest in dead_globals) if dest.kind == GLOBAL else (dest not in live):
                continue
        died = []
        for i in range(outs):
            dest = args[i]
            if dest.kind == GLOBAL:
                dead_globals.add(dest)
            elif dest in live:
                live.discard(dest)
            else:
                died.append(i)
        if flags & (BB_EXIT | BB_END | COND_EXIT | MAY_RAISE) or is_call:
            if not (is_call and args[-1].pure_state):
                dead_globals.clear()
            if op.opdef.name == "set_label":
                live_at[args[0]] = set(live)
            elif op.opdef.name == "brcond":
                live |= live_at[args[3]]
        for i in range(outs, n):
            temp = args[i]
            if temp.kind == GLOBAL:
                if temp in dead_globals:
                    died.append(i)
            elif temp.kind != CONST and temp not in live:
                died.append(i)
        for i in range(outs, n):
            temp = args[i]
            if temp.kind == GLOBAL:
                dead_globals.discard(temp)
            elif temp.kind != CONST:
                live.add(temp)
        op.dead = tuple(died)
        out.append(op)
    out.reverse()
    return out
