"""When locals in memory are alive: from the operation that fills them to their last use.

Code generation tells LLVM, which then gives locals that are never alive together the same piece of stack; the scratch
pass uses it to estimate how much stack a function needs.
"""

from __future__ import annotations

from osmia.compiler.ir.flow import Flow, derived, fills, memory_locals, successors
from osmia.compiler.ir.types import Ptr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.ir.module import Function, Op

_KEEPS_ADDRESS = ("local.set", "ret", "ptr.to.int")


class Lives:
    """The life of each local in memory whose address stays within this function.

    :ivar tracked: those locals. The others are alive all the time.
    :ivar starts: by (label, position), the locals that come to life just before that operation.
    :ivar ends: by (label, position), those that die just after it. :ivar ends_at: by label, those that are dead from
        the start of that block on. :ivar together: sets of locals that are alive at the same time.
    """

    __slots__ = ("ends", "ends_at", "starts", "together", "tracked")

    def __init__(self, function: Function, flow: Flow, zeros: dict[str, list[str]]) -> None:
        pointers = derived(flow)
        self.tracked = memory_locals(function) - _escaping(flow, pointers)
        self.starts: dict[tuple[str, int], list[str]] = {}
        self.ends: dict[tuple[str, int], list[str]] = {}
        self.ends_at: dict[str, list[str]] = {}
        self.together: set[frozenset[str]] = set()
        touches = {
            label: [self._touched(op, pointers, function) for op in flow.blocks[label].ops] for label in flow.order
        }
        before, after = self._solve(flow, zeros, touches)
        for label in flow.order:
            self._place(label, touches[label], after[label])
            last = touches[label][-1][0]
            for follower in set(successors(flow.blocks[label])):
                over = (after[label] | last) - before[follower] - set(zeros.get(follower, ()))
                if over:
                    known = self.ends_at.setdefault(follower, [])
                    known.extend(sorted(over - set(known)))

    def _touched(
        self, op: Op, pointers: dict[str, tuple[str, int | None]], function: Function
    ) -> tuple[set[str], str | None]:
        """The tracked locals that an operation uses or fills, and the one that it overwrites as a whole."""
        names = {pointers[arg.name][0] for arg in op.args if arg.name in pointers}
        filled = None
        if op.name in ("local.get", "local.set"):
            names.add(op.attrs["local"])
            filled = op.attrs["local"] if op.name == "local.set" else None
        else:
            filled = fills(op, pointers, function)
        names &= self.tracked
        return names, filled if filled in names else None

    def _solve(
        self, flow: Flow, zeros: dict[str, list[str]], touches: dict[str, list[tuple[set[str], str | None]]]
    ) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
        """Locals alive before each block (its zeros included) and after it."""
        before: dict[str, set[str]] = {label: set() for label in flow.order}
        after: dict[str, set[str]] = {label: set() for label in flow.order}
        changed = True
        while changed:
            changed = False
            for label in reversed(flow.order):
                out: set[str] = set()
                for follower in successors(flow.blocks[label]):
                    out |= before[follower]
                alive = set(out)
                for names, filled in reversed(touches[label]):
                    alive |= names
                    if filled is not None:
                        alive.discard(filled)
                alive -= set(zeros.get(label, ()))
                if out != after[label] or alive != before[label]:
                    after[label], before[label] = out, alive
                    changed = True
        return before, after

    def _place(self, label: str, touches: list[tuple[set[str], str | None]], after: set[str]) -> None:
        alive = set(after)
        if alive:
            self.together.add(frozenset(alive))
        last = len(touches) - 1
        for position in range(last, -1, -1):
            names, filled = touches[position]
            if not names:
                continue
            dying = names - alive
            if dying and position != last:
                self.ends[label, position] = sorted(dying)
            alive |= names
            self.together.add(frozenset(alive))
            if filled is not None:
                self.starts.setdefault((label, position), []).append(filled)
                alive.discard(filled)


def _escaping(flow: Flow, pointers: dict[str, tuple[str, int | None]]) -> set[str]:
    """Locals whose address is kept somewhere, so that uses of it cannot be followed."""
    found = set()
    for label in flow.order:
        for op in flow.blocks[label].ops:
            for index, value in enumerate(op.args):
                local = pointers.get(value.name)
                if local is None:
                    continue
                kept = op.name in _KEEPS_ADDRESS or (op.name == "store" and index == 1)
                if kept or (op.name == "call" and op.result is not None and isinstance(op.result.type, Ptr)):
                    found.add(local[0])
    return found
