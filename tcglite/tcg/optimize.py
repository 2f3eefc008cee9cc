"""From the front end's ops to fewer ops (QEMU: tcg/optimize.c, liveness in tcg/tcg.c).

One forward pass (copies, constants, the identities that guests hit most, code that nothing
reaches), then one backward pass that drops what nobody reads. Guest registers count as read
wherever code may leave the block or raise, so no write is lost that a restored state could need;
facts may flow across such a place.
"""

from __future__ import annotations

from .ir import CONST, GLOBAL, TB, Builder, Label, Op, Temp
from .ops import BB_END, BB_EXIT, COND_EXIT, FOLD_COND, MAY_RAISE, OPS, SIDE_EFFECT, M

_MOV = OPS["mov"]
_KEPT = SIDE_EFFECT | MAY_RAISE  #: done for more than its output
_SEEN = BB_EXIT | BB_END | COND_EXIT | MAY_RAISE  #: guest registers must be right here


def optimize(builder: Builder) -> list[Op]:
    """The block's ops after both passes; the builder keeps its list, its ops their arguments."""
    return liveness(fold(builder.ops, builder))


def fold(ops: list[Op], builder: Builder) -> list[Op]:
    """Propagate copies and constants; an op with a known result becomes a ``mov``. Drop what
    follows an op that never falls through, up to a label that is jumped to, but no ``insn_start``:
    the search data counts on one row for each instruction."""
    known: dict[Temp, Temp] = {}  # temp -> an equal temp or constant
    sources: set[Temp] = set()  # temps that another one may be known to equal
    targets: set[Label] = set()  # labels that are jumped to
    always: Label | None = None  # where the branch went that made what follows it unreachable
    reached = True
    out: list[Op] = []

    for op in ops:
        opdef, args, outs = op.opdef, op.args, op.outs
        name = opdef.name
        if name == "insn_start":
            out.append(op)
            continue
        if name == "set_label":
            if args[0] is always:
                always, reached = None, True
            elif args[0] in targets:
                reached = True
                known.clear()
                out.append(op)
            continue
        if not reached:
            continue
        if known and op.ins:
            for i in range(outs, outs + op.ins):
                same = known.get(args[i])
                if same is not None:
                    if args is op.args:
                        args = args.copy()
                    args[i] = same
            if args is not op.args:
                op = Op(opdef, args, outs, op.ins)
        if name == "call":
            if not args[-1].pure_state:
                known = {t: s for t, s in known.items() if GLOBAL not in (t.kind, s.kind)}
            reached = not args[-1].noreturn
        elif outs:
            result = _result(op, builder)
            if result is not None:
                if result is args[0]:
                    continue
                if opdef is not _MOV:
                    op = Op(_MOV, [args[0], result], 1, 1)
        elif name == "brcond":
            if args[0].kind == args[1].kind == CONST:
                if FOLD_COND[args[2]](args[0].value, args[1].value):
                    always, reached = args[3], False
                continue
            targets.add(args[3])
        elif opdef.flags & BB_EXIT:
            reached = False
        out.append(op)
        if outs:
            dest = args[0]
            known.pop(dest, None)
            if dest in sources:
                sources.remove(dest)
                known = {t: s for t, s in known.items() if s is not dest}
            if op.opdef is _MOV:
                source = op.args[1]
                if source.kind == TB and dest.kind == GLOBAL:
                    source, dest = dest, source  # what lives longer stands for both
                known[dest] = source
                if source.kind != CONST:
                    sources.add(source)
    return out


def _result(op: Op, builder: Builder) -> Temp | None:
    """The temp or constant that ``op``'s output is known to equal, or None."""
    fn, args = op.opdef.fold, op.args
    if fn is None:
        return _chosen(op, builder) if op.ins > 1 else None
    a = args[1]
    name = op.opdef.name
    if op.ins == 1:
        if name == "mov":
            return a
        return builder.const(fn(a.value)) if a.kind == CONST else None
    b = args[2]
    if b.kind == CONST:
        if a.kind == CONST:
            if not b.value and name in ("div", "divu", "rem", "remu"):
                return None
            return builder.const(fn(a.value, b.value))
        if b.value == 0:
            if name in ("add", "sub", "or", "xor", "shl", "shr", "sar"):
                return a
            if name in ("and", "mul"):
                return b
        elif b.value == M and name == "and":
            return a
    elif a.kind == CONST:
        if a.value == 0:
            if name in ("add", "or", "xor"):
                return b
            if name in ("and", "mul"):
                return a
    elif a is b and name in ("xor", "sub"):
        return builder.const(0)
    return None


def _chosen(op: Op, builder: Builder) -> Temp | None:
    """The same of a setcond or movcond."""
    a, b = op.args[1], op.args[2]
    if a.kind == b.kind == CONST:
        holds = FOLD_COND[op.args[-1]](a.value, b.value)
        if op.opdef.name == "setcond":
            return builder.const(int(holds))
        value: Temp = op.args[3] if holds else op.args[4]
        return value
    return None


def liveness(ops: list[Op]) -> list[Op]:
    """Drop ops whose output nobody sees; note which arguments die at each op that stays: a later
    op does not read them, or reads them from memory again (QEMU: liveness_pass_1)."""
    live: set[Temp] = set()  # values that an op further down reads
    unseen: set[Temp] = set()  # globals that will be written before anybody can see them
    live_at: dict[Label, set[Temp]] = {}
    out: list[Op] = []
    for op in reversed(ops):
        opdef, args, outs = op.opdef, op.args, op.outs
        flags = opdef.flags
        if flags == SIDE_EFFECT and opdef.name == "insn_start":
            out.append(op)
            continue
        dead: tuple[int, ...] = ()
        if outs:
            dest = args[0]
            if dest in live:
                live.remove(dest)
            elif flags & _KEPT or (dest.kind == GLOBAL and dest not in unseen):
                dead = (0,)
            else:
                continue
            if dest.kind == GLOBAL:
                unseen.add(dest)
        if flags & _SEEN:
            unseen.clear()
            if flags & BB_END:
                live = {t for t in live if t.kind != GLOBAL}
                live_at[args[0]] = set(live)
            elif opdef.name == "brcond":
                live = live | live_at[args[3]]
        elif flags and opdef.name == "call" and not args[-1].pure_state:
            unseen.clear()
            live = {t for t in live if t.kind != GLOBAL}
        if op.ins:
            for i in range(outs, outs + op.ins):
                if args[i].kind != CONST and args[i] not in live:
                    dead += (i,)
            for i in dead:
                if i >= outs:
                    live.add(args[i])
                    unseen.discard(args[i])
        op.dead = dead
        out.append(op)
    out.reverse()
    return out
