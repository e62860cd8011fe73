"""Control flow of a function: order of blocks, dominators, loops; and where locals in memory need their first zeros."""

from __future__ import annotations

from osmia.compiler.ir.ops import OPS
from osmia.compiler.ir.types import Ptr
from osmia.object.layout import Array, Bytes, Char, Layout, Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.ir.module import Block, Function, Op


def successors(block: Block) -> list[str]:
    """The labels that a block's terminator names, in order."""
    if not block.ops:
        return []
    op = block.ops[-1]
    row = OPS.get(op.name)
    found: list[str] = []
    if row is not None:
        for name in row.labels:
            value = op.attrs[name]
            if isinstance(value, str):
                found.append(value)
            else:
                found.extend(label for _, label in value)
    return found


class Flow:
    """Reachable blocks of a function.

    :ivar blocks: by label. :ivar order: labels in reverse post-order, the entry first. :ivar preds: predecessors.
    :ivar idom: immediate dominator, the entry's is itself. :ivar cyclic: labels of blocks that can reach themselves.
    """

    __slots__ = ("_depth", "_number", "blocks", "cyclic", "idom", "order", "preds")

    def __init__(self, function: Function) -> None:
        self.blocks = {block.label: block for block in function.blocks}
        entry = function.blocks[0].label
        self.order = self._postorder(entry)[::-1]
        self._number = {label: index for index, label in enumerate(self.order)}
        self.preds: dict[str, list[str]] = {label: [] for label in self.order}
        for label in self.order:
            for successor in successors(self.blocks[label]):
                self.preds[successor].append(label)
        self.idom = self._dominators(entry)
        self._depth: dict[str, int] = {entry: 0}
        for label in self.order[1:]:
            self._depth[label] = self._depth[self.idom[label]] + 1
        self.cyclic = self._cycles()

    def _postorder(self, entry: str) -> list[str]:
        order: list[str] = []
        seen = {entry}
        stack = [(entry, iter(successors(self.blocks[entry])))]
        while stack:
            label, rest = stack[-1]
            for successor in rest:
                if successor not in seen:
                    seen.add(successor)
                    stack.append((successor, iter(successors(self.blocks[successor]))))
                    break
            else:
                order.append(label)
                stack.pop()
        return order

    def _dominators(self, entry: str) -> dict[str, str]:
        idom = {entry: entry}
        changed = True
        while changed:
            changed = False
            for label in self.order[1:]:
                known = [pred for pred in self.preds[label] if pred in idom]
                new = known[0]
                for pred in known[1:]:
                    new = self._meet(idom, new, pred)
                if idom.get(label) != new:
                    idom[label] = new
                    changed = True
        return idom

    def _meet(self, idom: dict[str, str], a: str, b: str) -> str:
        number = self._number
        while a != b:
            while number[a] > number[b]:
                a = idom[a]
            while number[b] > number[a]:
                b = idom[b]
        return a

    def common(self, a: str, b: str) -> str:
        """The nearest block that dominates both."""
        return self._meet(self.idom, a, b)

    def dominates(self, a: str, b: str) -> bool:
        """Whether every way to ``b`` goes through ``a``."""
        depth = self._depth
        while depth[b] > depth[a]:
            b = self.idom[b]
        return a == b

    def _cycles(self) -> set[str]:
        """Strongly connected components with a cycle (Tarjan, without recursion)."""
        index: dict[str, int] = {}
        low: dict[str, int] = {}
        stack: list[str] = []
        on_stack: set[str] = set()
        found: set[str] = set()
        for root in self.order:
            if root in index:
                continue
            work = [(root, iter(successors(self.blocks[root])))]
            index[root] = low[root] = len(index)
            stack.append(root)
            on_stack.add(root)
            while work:
                label, rest = work[-1]
                for successor in rest:
                    if successor not in index:
                        index[successor] = low[successor] = len(index)
                        stack.append(successor)
                        on_stack.add(successor)
                        work.append((successor, iter(successors(self.blocks[successor]))))
                        break
                    if successor in on_stack:
                        low[label] = min(low[label], index[successor])
                else:
                    work.pop()
                    if work:
                        parent = work[-1][0]
                        low[parent] = min(low[parent], low[label])
                    if low[label] == index[label]:
                        component = []
                        while True:
                            member = stack.pop()
                            on_stack.discard(member)
                            component.append(member)
                            if member == label:
                                break
                        if len(component) > 1 or label in successors(self.blocks[label]):
                            found.update(component)
        return found


def is_aggregate(type_: object) -> bool:
    """Whether a local of that type is reached through its address only."""
    return isinstance(type_, (Struct, Array, Char, Bytes))


def memory_locals(function: Function) -> set[str]:
    """Locals that need an address: aggregates, and scalars whose address is taken."""
    found = {name for name, local in function.locals.items() if is_aggregate(local.type)}
    for op in function.ops():
        if op.name == "local.addr":
            found.add(op.attrs["local"])
    return found


def derived(flow: Flow) -> dict[str, tuple[str, int | None]]:
    """For every value that points into a local: the local and the offset, None where that is not constant."""
    found: dict[str, tuple[str, int | None]] = {}
    for op in [op for label in flow.order for op in flow.blocks[label].ops]:
        if op.result is None:
            continue
        if op.name == "local.addr":
            found[op.result.name] = (op.attrs["local"], 0)
        elif op.name in ("field", "element", "cast.ptr", "br.nonnull", "ptr.add", "select"):
            for arg in op.args:
                base = found.get(arg.name)
                if base is None:
                    continue
                offset = base[1]
                if op.name == "field" and offset is not None:
                    offset += op.attrs["offset"]
                elif op.name not in ("field", "cast.ptr", "br.nonnull"):
                    offset = None
                found[op.result.name] = (base[0], offset)
    return found


_FILLS = ("zero", "copy", "read.kernel", "read.user")


def fills(op: Op, pointers: dict[str, tuple[str, int | None]], function: Function) -> str | None:
    """The local that an operation overwrites as a whole, if any."""
    if not op.args:
        return None
    target = pointers.get(op.args[0].name)
    if target is None or target[1] != 0:
        return None
    type_ = function.locals[target[0]].type
    if not isinstance(type_, Layout):
        return None
    if op.name in _FILLS and len(op.args) < 3 and op.attrs["size"] >= type_.size:
        return None if len(op.args) > 1 and pointers.get(op.args[1].name, ("", 0))[0] == target[0] else target[0]
    if op.name == "store":
        pointer = op.args[0].type
        if isinstance(pointer, Ptr):
            size = pointer.to.size if isinstance(pointer.to, Layout) else 8
            return target[0] if size >= type_.size else None
    return None


def zeroing(function: Function, flow: Flow) -> dict[str, list[str]]:
    """Where locals in memory get their first zeros: labels (``""``: before the entry) to names.

    A local starts as zeros. It needs no store where the operation that overwrites it as a whole comes before every
    other use; otherwise the zeros go to the nearest block that dominates all uses and is in no loop.
    """
    wanted = memory_locals(function)
    if not wanted:
        return {}
    pointers = derived(flow)
    # In the order of the locals: sets of names have another order in every process.
    uses: dict[str, list[tuple[str, int, bool]]] = {name: [] for name in function.locals if name in wanted}
    for label in flow.order:
        for position, op in enumerate(flow.blocks[label].ops):
            touched = {pointers[arg.name][0] for arg in op.args if arg.name in pointers}
            if op.name in ("local.get", "local.set"):
                touched.add(op.attrs["local"])
            if not touched:
                continue
            filled = op.attrs["local"] if op.name == "local.set" else fills(op, pointers, function)
            for name in touched & wanted:
                uses[name].append((label, position, filled == name))
    placed: dict[str, list[str]] = {}
    for name, found in uses.items():
        block = _needs_zeros(found, flow)
        if block is not None:
            placed.setdefault(block, []).append(name)
    return placed


def _needs_zeros(uses: list[tuple[str, int, bool]], flow: Flow) -> str | None:
    """The block for the zeros; None where none are needed."""
    if not uses:
        return None
    common = uses[0][0]
    for label, _, _ in uses[1:]:
        common = flow.common(common, label)
    here = sorted((position, whole) for label, position, whole in uses if label == common)
    if here and here[0][1]:
        return None
    while common in flow.cyclic:
        if common == flow.idom[common]:
            return ""
        common = flow.idom[common]
    return common
