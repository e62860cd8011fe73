"""Constants, arithmetic, comparisons and conversions."""

from __future__ import annotations

from osmia.compiler.codegen.lower.registry import lowers
from osmia.object.layout import Bool, Int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.codegen.function import FunctionLowering
    from osmia.compiler.ir import Op

_PLAIN = {"add": "add", "sub": "sub", "and": "and", "or": "or", "xor": "xor"}
_SHIFTS = ("shl", "lshr", "ashr")


def _literal(operand: str) -> int | None:
    """The number, when the operand is one."""
    return int(operand) if operand.lstrip("-").isdigit() else None


@lowers("const")
def _lower_const(f: FunctionLowering, op: Op) -> None:
    result = f.result(op)
    value = op.attrs["value"]
    if isinstance(result.type, Bool):
        f.define(result, "true" if value else "false")
    else:
        f.define(result, str(int(value)))


@lowers("binary")
def _lower_binary(f: FunctionLowering, op: Op) -> None:
    result = f.result(op)
    type_ = f.type_of(op.args[0])
    a, b = f.operand(op.args[0]), f.operand(op.args[1])
    name = op.name
    if name in _PLAIN:
        f.define(result, f.assign(f"{_PLAIN[name]} {type_} {a}, {b}"))
    elif name in _SHIFTS:
        bits = int(type_[1:])
        count = _literal(b)
        amount = str(count % bits) if count is not None else f.assign(f"and {type_} {b}, {bits - 1}")
        f.define(result, f.assign(f"{name} {type_} {a}, {amount}"))
    elif name == "mul":
        product = f.assign(f"mul {type_} {a}, {b}")
        # What LLVM knows of a product it may turn into a 128-bit multiplication (overflow checks, high halves), which
        # BPF has no instruction for; so it is told nothing.
        f.define(result, f.hide(product, type_))
    elif name in ("udiv", "umod"):
        f.define(result, _unsigned(f, name, type_, a, b))
    else:
        f.define(result, _signed(f, name, type_, a, b))


def _unsigned(f: FunctionLowering, name: str, type_: str, a: str, b: str) -> str:
    """Division as BPF defines it: by zero gives 0, the remainder by zero is the dividend.

    LLVM takes a division by zero for impossible; a divisor that it knows nothing of keeps it from using that, and the
    processor's instruction does the rest.
    """
    divisor = _literal(b)
    bits = int(type_[1:])
    if divisor is not None and divisor % (1 << bits) == 0:
        return "0" if name == "udiv" else a
    word = "i64" if bits == 64 else "i32"
    if bits < 32:
        a, b = f.assign(f"zext {type_} {a} to i32"), f.assign(f"zext {type_} {b} to i32")
    a, b = f.hide(a, word), f.hide(b, word) if divisor is None else b
    quotient = f.assign(f"{'udiv' if name == 'udiv' else 'urem'} {word} {a}, {b}")
    return f.assign(f"trunc i32 {quotient} to {type_}") if bits < 32 else quotient


def _signed(f: FunctionLowering, name: str, type_: str, a: str, b: str) -> str:
    """Signed division: v4 has instructions for it; v3 divides magnitudes and puts the sign back."""
    bits = int(type_[1:])
    divisor = _literal(b)
    if divisor is not None:
        divisor = (divisor + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))
        if divisor == 0:
            return "0" if name == "sdiv" else a
        if divisor == -1:
            return f.assign(f"sub {type_} 0, {a}") if name == "sdiv" else "0"
    if f.target.cpu == "v4":
        return _signed_v4(f, name, type_, a, b, divisor is None)
    sign_a = f.assign(f"ashr {type_} {a}, {bits - 1}")
    size_a = _flip(f, type_, a, sign_a)
    if divisor is not None:
        sign_b, size_b = str(-1 if divisor < 0 else 0), str(abs(divisor))
    else:
        sign_b = f.assign(f"ashr {type_} {b}, {bits - 1}")
        size_b = _flip(f, type_, b, sign_b)
    if name == "smod":
        return _flip(f, type_, _unsigned(f, "umod", type_, size_a, size_b), sign_a)
    sign = f.assign(f"xor {type_} {sign_a}, {sign_b}")
    return _flip(f, type_, _unsigned(f, "udiv", type_, size_a, size_b), sign)


def _flip(f: FunctionLowering, type_: str, value: str, sign: str) -> str:
    """``value`` negated where ``sign`` is all ones, unchanged where it is zero."""
    flipped = f.assign(f"xor {type_} {value}, {sign}")
    return f.assign(f"sub {type_} {flipped}, {sign}")


def _signed_v4(f: FunctionLowering, name: str, type_: str, a: str, b: str, unknown: bool) -> str:
    """An unknown divisor of -1 is kept from the instruction: kernels before 6.12 trap on the least value over it."""
    instruction = "sdiv" if name == "sdiv" else "srem"
    bits = int(type_[1:])
    if bits < 32:
        a, b = f.hide(f.assign(f"sext {type_} {a} to i32"), "i32"), f.hide(f.assign(f"sext {type_} {b} to i32"), "i32")
        return f.assign(f"trunc i32 {f.assign(f'{instruction} i32 {a}, {b}')} to {type_}")
    a = f.hide(a, type_)
    if not unknown:
        return f.assign(f"{instruction} {type_} {a}, {b}")
    divisor = f.hide(b, type_)
    is_minus = f.assign(f"icmp eq {type_} {divisor}, -1")
    minus, other, done = f.new_label(), f.new_label(), f.new_label()
    f.emit(f"br i1 {is_minus}, label %{minus}, label %{other}")
    f.place(minus)
    first = f.assign(f"sub {type_} 0, {a}") if name == "sdiv" else "0"
    f.emit(f"br label %{done}")
    f.place(other)
    second = f.assign(f"{instruction} {type_} {a}, {f.hide(divisor, type_)}")
    f.emit(f"br label %{done}")
    f.place(done)
    return f.assign(f"phi {type_} [ {first}, %{minus} ], [ {second}, %{other} ]")


@lowers("unary")
def _lower_unary(f: FunctionLowering, op: Op) -> None:
    type_ = f.type_of(op.args[0])
    a = f.operand(op.args[0])
    if op.name == "neg":
        text = f"sub {type_} 0, {a}"
    else:
        text = f"xor {type_} {a}, {'true' if type_ == 'i1' else -1}"
    f.define(f.result(op), f.assign(text))


@lowers("compare")
def _lower_compare(f: FunctionLowering, op: Op) -> None:
    a, b = op.args
    f.define(f.result(op), f.assign(f"icmp {op.name} {f.type_of(a)} {f.operand(a)}, {f.operand(b)}"))


@lowers("convert")
def _lower_convert(f: FunctionLowering, op: Op) -> None:
    source, result = op.args[0], f.result(op)
    value = f.operand(source)
    if op.name != "retype":
        value = f.assign(f"{op.name} {f.type_of(source)} {value} to {f.type_of(result)}")
    wide = f.wide.get(source.name)
    if wide is not None and op.name in ("zext", "retype"):
        f.wide[result.name] = wide
    f.define(result, value)


@lowers("select")
def _lower_select(f: FunctionLowering, op: Op) -> None:
    c, a, b = op.args
    type_ = f.type_of(a)
    f.define(f.result(op), f.assign(f"select i1 {f.operand(c)}, {type_} {f.operand(a)}, {type_} {f.operand(b)}"))


@lowers("bswap")
def _lower_bswap(f: FunctionLowering, op: Op) -> None:
    source = op.args[0]
    type_ = f.type_of(source)
    value = f.operand(source)
    if isinstance(source.type, Int) and source.type.bits > 8:
        value = f.assign(f"call {type_} @llvm.bswap.{type_}({type_} {value})")
        f.need(f"declare {type_} @llvm.bswap.{type_}({type_})")
    f.define(f.result(op), value)
