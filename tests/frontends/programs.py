"""Random programs over maps, structs, text, arrays and functions, whose results the evaluator and the kernel must agree on."""

HEADER = """
@prog.struct
class V:
    a: u64
    b: s32
    c: u16
    flag: bool
    name: Char[8] = ""
    cells: Array[u32, 4] = [0] * 4

m = prog.hash(u32, u64, max_entries=8)
s = prog.hash(u32, V, max_entries=4)
t = prog.hash((u8, Char[4]), s64)
arr = prog.array(u32, 8)
own = prog.percpu_array(u64, 4)
x_in = prog.var(u32)
y_in = prog.var(s64)
out = prog.var(u64)
LIST = [3, 1, 4, 1, 5, 9, 2, 6]
NAMES = {1: 10, 2: 20, 5: 50}
SET = {1, 3, 5, 7, 11, 13, 17, 19, 23}

def half(v):
    return v // 2

def find(key: u32) -> u64:
    for k, v in m.items():
        if k == key:
            return v
    return 7

def clamp(v: s64, low: s64 = -5, high: s64 = 99) -> s64:
    if v < low:
        return low
    return high if v > high else v

@prog.func(inline=False)
def mix(v: u64, w: s32) -> u64:
    x = v
    for i in range(3):
        x = x * 31 + w
    return x

@prog.func(inline=False)
def bump(v: V, by: u32) -> None:
    v.a += by
    v.cells[by % 4] += 1
"""

MAIN = """
@prog.raw_tracepoint("sched_switch", subject=None)
def main() -> None:
    x: u64 = x_in.value
    y: s64 = y_in.value
    z: u32 = 1
"""

TEXTS = ('"a"', '"bcd"', '"ab"')


class Programs:
    """Bodies of ``main``; ``below`` gives an integer below its argument."""

    def __init__(self, below):
        self.below = below
        self.count = 0

    def pick(self, *items):
        return items[self.below(len(items))]

    def number(self, depth=0):
        choice = self.below(16) if depth < 3 else self.below(4)
        inner = lambda: self.number(depth + 1)  # noqa: E731
        if choice < 4:
            return self.pick("x", "y", "z", str(self.below(20)))
        if choice < 7:
            return f"({inner()} {self.pick('+', '-', '*', '//', '%', '&', '|', '^')} {self.pick('x', 'y', 'z')})"
        return self.pick(
            f"half({self.pick('x', 'y', 'z')} + {inner()})",
            f"clamp({inner()})",
            f"mix({inner()}, {inner()})",
            f"m.get({self.key()}, {inner()})",
            f"arr[{self.pick('x', 'z')} % 8]",
            f"LIST[{self.pick('x', 'z')} % 8]",
            f"NAMES.get(x % 8, {inner()})",
            f"({inner()} if {self.condition(depth + 1)} else {inner()})",
            f"min({self.pick('x', 'z')}, {self.pick('x', 'z')}, 40)",
            f"u32({inner()})",
            "find(z % 8)",
            f"abs(y % {1 + self.below(9)})",
        )

    def key(self):
        return self.pick("x % 8", "z % 8", str(self.below(8)), "u32(y & 7)")

    def condition(self, depth=0):
        choice = self.below(9) if depth < 3 else 0
        if choice < 3:
            return f"{self.number(depth + 1)} {self.pick('==', '!=', '<', '<=', '>', '>=')} {self.number(depth + 1)}"
        if choice == 3:
            return f"({self.condition(depth + 1)} {self.pick('and', 'or')} {self.condition(depth + 1)})"
        return self.pick(
            f"{self.key()} in m", f"{self.pick('x', 'z')} % 25 in SET", f"z % 9 not in (2, 4, {self.below(9)})",
            f"not {self.pick('x', 'y', 'z')} % 3", f"0 < {self.pick('x', 'y', 'z')} % 10 <= {self.below(10)}",
        )  # fmt: skip

    def block(self, indent, depth=0, loop=False):
        lines = []
        for _ in range(1 + self.below(4)):
            lines += self.statement(indent, depth, loop)
        return lines

    def statement(self, i, depth, loop):
        choice = self.below(22) if depth < 3 else self.below(9)
        self.count += 1
        name = f"v{self.count}"
        more = lambda inside=loop: self.block(i + "    ", depth + 1, inside)  # noqa: E731
        simple = [
            [f"{i}x = u64({self.number()})"],
            [f"{i}y = s64({self.number()})"],
            [f"{i}z += u32({self.number()})"],
            [f"{i}m[{self.key()}] {self.pick('+=', '-=', '^=', '|=', '=')} {self.number()}"],
            [f"{i}arr[{self.pick('x', 'z')} % 8] {self.pick('+=', '=', '*=')} u32({self.number()})"],
            [f"{i}own[z % 4] += {self.number()}"],
            [f"{i}t[u8({self.number()}), {self.pick(*TEXTS)}] += {self.number()}"],
            [f"{i}del m[{self.key()}]"],
            [
                f"{i}s[{self.key()}] = V(a=u64({self.number()}), b=s32({self.number()}), c=u16({self.number()}), flag={self.condition()})"
            ],
        ]
        if choice < len(simple):
            return simple[choice]
        if choice < 12:
            return [
                f"{i}{name} = s.get({self.key()})", f"{i}if {name} is not None:",
                f"{i}    {name}.a {self.pick('+=', '*=', '^=')} u64({self.number()})", f"{i}    {name}.b -= s32({self.number()})",
                f"{i}    {name}.c += u16({self.number()})", f"{i}    {name}.cells[z % 4] += {name}.c",
                f"{i}    bump({name}, z)", f"{i}    if {name}.flag:", f"{i}        x = {name}.a",
                f"{i}    {name}.name = {self.pick(*TEXTS)}",
            ]  # fmt: skip
        if choice == 12:
            return [f"{i}if {self.condition()}:", *more(), f"{i}else:", *more()]
        if choice == 13:
            return [f"{i}for {name} in range({1 + self.below(6)}):", *more(True), f"{i}    z += {name}"]
        if choice == 14:
            return [f"{i}for {name} in range(x % 7):", *more(True), f"{i}    x ^= {name}"]
        if choice == 15:
            return [f"{i}for {name}, w{name} in m.items():", f"{i}    y += {name} * w{name}", f"{i}    z ^= {name}"]
        if choice == 16:
            return [f"{i}{name} = [0] * 4", f"{i}for w{name} in range(4):", f"{i}    {name}[w{name}] = {self.number()}",
                    f"{i}y += {name}[x % 4] - {name}[-1]"]  # fmt: skip
        if choice == 17:
            return [f"{i}{name} = V(1, 2, 3, True, cells=[z, 1, 2, 3])", f"{i}bump({name}, z)",
                    f"{i}if {name}.name == 'ab' or {name}.cells[1] > z:", *more(), f"{i}x += {name}.a + {name}.cells[z % 4]"]  # fmt: skip
        if choice == 18:
            return [f"{i}match z % 5:", f"{i}    case 0 | 3:", *self.block(i + "        ", depth + 1, loop), f"{i}    case {name} if x > 3:",
                    f"{i}        z += {name}", f"{i}    case _:", *self.block(i + "        ", depth + 1, loop)]  # fmt: skip
        if choice == 19:
            return [
                f"{i}{name} = m.pop({self.key()})",
                f"{i}if {name} is None:",
                f"{i}    {name} = z",
                f"{i}x += {name}",
            ]
        if choice == 20 and loop:
            return [f"{i}if {self.condition()}:", f"{i}    {self.pick('break', 'continue')}"]
        return [f"{i}if ({name} := s.get({self.key()})) and {name}.a > 3:", f"{i}    y -= {name}.cells[x % 4]", *more()]

    def text(self):
        return HEADER + MAIN + "\n".join(self.block("    ")) + "\n    out.value = x * 7 + u64(y) * 3 + z\n"


def contents(maps):
    """Everything a run left in the maps, in a form that compares."""
    found = {}
    for name in ("m", "s", "t", "arr"):
        rows = {}
        for key, value in maps[name].items():
            fields = getattr(type(value), "__slots__", None)
            shown = tuple(getattr(value, field) for field in fields) if fields else value
            rows[str(key)] = str(shown)
        found[name] = rows
    return found
