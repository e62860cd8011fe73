"""The documented rules of arithmetic as a Python class, and a generator of random functions in the language.

The same source text runs twice: compiled, and by Python itself with :class:`I` for its numbers.
"""

import operator

NAMES = ("u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64")


def wrap(value, name):
    bits = int(name[1:])
    value &= (1 << bits) - 1
    return value - (1 << bits) if name[0] == "s" and value >> (bits - 1) else value


def limits(name):
    bits = int(name[1:])
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if name[0] == "s" else (0, (1 << bits) - 1)


def join(a, b):
    if a[0] == b[0]:
        return max(a, b, key=lambda name: int(name[1:]))
    unsigned, signed = (a, b) if a[0] == "u" else (b, a)
    u, s = int(unsigned[1:]), int(signed[1:])
    if s > u:
        return signed
    return f"s{u * 2}" if u < 64 else "u64"


def literal_join(value, name, bitwise):
    low, high = limits(name)
    if low <= value <= high or (bitwise and name[0] == "u" and -((high + 1) >> 1) <= value < 0):
        return name
    for bits in (8, 16, 32, 64):
        for sign in (name[0], "s" if name[0] == "u" else "u"):
            least, most = limits(f"{sign}{bits}")
            if least <= min(low, value) and max(high, value) <= most:
                return f"{sign}{bits}"
    return "u64"


class I:  # noqa: E742
    """An integer of a type."""

    def __init__(self, value, name):
        self.value = wrap(int(value), name)
        self.name = name

    def __repr__(self):
        return f"{self.name}({self.value})"

    def __int__(self):
        return self.value

    def __bool__(self):
        return self.value != 0

    def __hash__(self):
        return hash(self.value)

    def meet(self, other, bitwise=False):
        if isinstance(other, I):
            return join(self.name, other.name)
        if isinstance(other, bool):
            return self.name
        return literal_join(other, self.name, bitwise)

    def binary(self, other, function, bitwise=False, swapped=False):
        name = self.meet(other, bitwise)
        left, right = wrap(self.value, name), wrap(int(other), name)
        if swapped:
            left, right = right, left
        return I(function(left, right), name)


def floor_div(a, b):
    return 0 if b == 0 else a // b


def floor_mod(a, b):
    return a if b == 0 else a % b


def _install():
    rows = {
        "add": (operator.add, False), "sub": (operator.sub, False), "mul": (operator.mul, False),
        "floordiv": (floor_div, False), "mod": (floor_mod, False), "and": (operator.and_, True),
        "or": (operator.or_, True), "xor": (operator.xor, True),
    }  # fmt: skip
    for name, (function, bitwise) in rows.items():
        setattr(I, f"__{name}__", lambda self, other, f=function, b=bitwise: self.binary(other, f, b))
        setattr(I, f"__r{name}__", lambda self, other, f=function, b=bitwise: self.binary(other, f, b, True))
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        function = getattr(operator, name)
        setattr(I, f"__{name}__", lambda self, other, f=function: f(self.value, int(other)))

    def shift(self, other, function):
        return I(function(self.value, int(other) % int(self.name[1:])), self.name)

    I.__lshift__ = lambda self, other: shift(self, other, operator.lshift)
    I.__rshift__ = lambda self, other: shift(self, other, operator.rshift)
    I.__neg__ = lambda self: I(-self.value, self.name)
    I.__invert__ = lambda self: I(~self.value, self.name)
    I.__abs__ = lambda self: I(abs(self.value), self.name)


_install()
CASTS = {name: (lambda value, name=name: I(value, name)) for name in NAMES}


class Generator:
    """Random functions; ``draw`` is a function that gives an integer below its argument."""

    def __init__(self, below):
        self.below = below
        self.variables = []
        self.depth = 0

    def pick(self, items):
        return items[self.below(len(items))]

    def literal(self):
        return str(self.pick([0, 1, 2, 3, 7, 8, 10, 31, 63, 100, 127, 128, 255, 256, 1000, 65535, 65536, 2**31 - 1, 2**31,
                              2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, -1, -2, -7, -128, -129, -(2**31), -(2**63)]))  # fmt: skip

    def number(self, depth=0):
        """An expression with a type of its own (not a bare literal)."""
        choice = self.below(12) if depth < 4 else 0
        if choice < 3:
            return self.pick(self.variables)
        left = self.number(depth + 1)
        if choice < 8:
            op = self.pick(["+", "-", "*", "//", "%", "&", "|", "^", "+", "-"])
            right = self.literal() if self.below(3) == 0 else self.number(depth + 1)
            return f"({left} {op} ({right}))" if self.below(4) else f"(({right}) {op} {left})"
        if choice == 8:
            count = f"({self.number(depth + 1)})" if self.below(2) else str(self.below(8))
            return f"({left} {self.pick(['<<', '>>'])} {count})"
        if choice == 9:
            return f"{self.pick(NAMES)}({left})"
        if choice == 10:
            return f"({self.pick(['-', '~'])}{left})"
        name = self.pick(NAMES)
        return f"({name}({left}) if {self.condition(depth + 1)} else {name}({self.number(depth + 1)}))"

    def condition(self, depth=0):
        choice = self.below(6) if depth < 4 else 0
        if choice < 3:
            right = self.literal() if self.below(2) else self.number(depth + 1)
            return f"({self.number(depth + 1)} {self.pick(['==', '!=', '<', '<=', '>', '>='])} ({right}))"
        if choice == 3:
            return f"({self.condition(depth + 1)} {self.pick(['and', 'or'])} {self.condition(depth + 1)})"
        if choice == 4:
            return f"(not {self.condition(depth + 1)})"
        return f"({self.number(depth + 1)} < {self.number(depth + 1)} <= {self.number(depth + 1)})"

    def statements(self, indent, depth=0):
        lines = []
        for _ in range(1 + self.below(3)):
            choice = self.below(7) if depth < 2 else 0
            target, kind = self.pick(self.locals)
            if choice < 4:
                lines.append(f"{indent}{target} = {kind}({self.number()})")
            elif choice == 4:
                lines.append(f"{indent}if {self.condition()}:")
                lines += self.statements(indent + "    ", depth + 1)
                if self.below(2):
                    lines.append(f"{indent}else:")
                    lines += self.statements(indent + "    ", depth + 1)
            elif choice == 5:
                self.depth += 1
                name = f"i{self.depth}"
                lines.append(f"{indent}for {name} in range({1 + self.below(6)}):")
                lines += self.statements(indent + "    ", depth + 1)
                if self.below(2):
                    lines.append(f"{indent}    if {self.condition()}:")
                    lines.append(f"{indent}        {self.pick(['break', 'continue'])}")
            else:
                op = self.pick(["+", "-", "*", "&", "|", "^"])
                lines.append(f"{indent}{target} {op}= {kind}({self.number()})")
        return lines

    def function(self, parameters):
        """The body of a function of (name, type) parameters that returns a ``u64``."""
        self.variables = [name for name, _ in parameters]
        self.locals = []
        lines = []
        for index in range(1 + self.below(3)):
            kind = self.pick(NAMES)
            lines.append(f"    x{index}: {kind} = {kind}({self.number()})")
            self.locals.append((f"x{index}", kind))
            self.variables.append(f"x{index}")
        lines += self.statements("    ")
        lines.append(f"    return u64({self.number()})")
        return "\n".join(lines)


def by_python(body, parameters, values):
    """What Python itself makes of the function."""
    names = ", ".join(name for name, _ in parameters)
    space = dict(CASTS)
    exec(f"def work({names}):\n{body}\n", space)
    return int(space["work"](*(I(value, kind) for (_, kind), value in zip(parameters, values, strict=True))))
