"""From the front end's ops to fewer ops (QEMU: tcg/optimize.c, liveness in tcg/tcg.c).

One forward pass (copies, constants, the identities that guests hit most), then one backward pass
that drops what nobody reads. Guest registers count as read wherever code may leave the block or
raise, so no write is lost that a restored state could need; facts may flow across such a place.
"""

from __future__ import annotations

from .ir import CONST, GLOBAL, Builder, Label, Op, Temp
from .ops import BB_END, BB_EXIT, COND_EXIT, FOLD_COND, MAY_RAISE, OPS, SIDE_EFFECT, M


def optimize(builder: Builder) -> list[Op]:
    """The block's ops after all passes; the builder keeps its list, and its ops their arguments."""
    return liveness(reachable(fold(builder.ops, builder)))


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
        if known and op.ins:
            ins = args[op.outs : n]
            same = [known.get(temp, temp) for temp in ins]
            if same != ins:
                args = [*args[: op.outs], *same, *args[n:]]
                op = Op(opdef, args, op.outs, op.ins)
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
    """Drop ops whose output nobody sees; note which arguments die at each op that stays: a later
    op does not read them, or reads them from memory again (QEMU: liveness_pass_1)."""
    live: set[Temp] = set()  # values that an op further down reads
    unseen: set[Temp] = set()  # globals that will be written before anybody can see them
    live_at: dict[Label, set[Temp]] = {}
    out: list[Op] = []
    for op in reversed(ops):
        opdef, args = op.opdef, op.args
        flags = opdef.flags
        died = []
        if op.outs:
            dest = args[0]
            if dest in live:
                live.discard(dest)
            elif flags & (SIDE_EFFECT | MAY_RAISE) or (dest.kind == GLOBAL and dest not in unseen):
                died.append(0)
            else:
                continue
            if dest.kind == GLOBAL:
                unseen.add(dest)
        if opdef.name == "call":
            if not args[-1].pure_state:
                unseen.clear()
                live = {t for t in live if t.kind != GLOBAL}
        elif flags & (BB_EXIT | BB_END | COND_EXIT | MAY_RAISE):
            unseen.clear()
            if flags & BB_END:
                live = {t for t in live if t.kind != GLOBAL}
                live_at[args[0]] = set(live)
            elif opdef.name == "brcond":
                live = live | live_at[args[3]]
        ins = args[op.outs : op.outs + op.ins]
        for i, temp in enumerate(ins, op.outs):
            if temp.kind != CONST and temp not in live:
                died.append(i)
        for temp in ins:
            if temp.kind != CONST:
                live.add(temp)
                unseen.discard(temp)
        op.dead = tuple(died)
        out.append(op)
    out.reverse()
    return out
