"""Random modules for round trips, and a comparison that does not use the printer."""

from __future__ import annotations

from hypothesis import strategies as st

from osmia.compiler.ir import (
    FUNC_REF,
    MAP_REF,
    VOID,
    Block,
    Function,
    Global,
    KArray,
    KType,
    Local,
    Module,
    Op,
    Ptr,
    Space,
    Value,
)
from osmia.compiler.ir.ops import OPS
from osmia.diagnostics import NO_SPAN, Span
from osmia.object.layout import Array, Bool, Bytes, Char, Enum, Field, Int, Layout, Struct
from osmia.object.spec import EventSchema, Hook, MapSpec

WORDS = st.text("abcXYZ_09.", min_size=1, max_size=5)
TEXTS = st.one_of(WORDS, st.text(max_size=6), st.text('"\\\n\t{}%^$@#!\x00\ud800', max_size=4))
NUMBERS = st.one_of(st.integers(-5, 300), st.integers(-(2**64), 2**64))
INTS = st.builds(Int, st.sampled_from((8, 16, 32, 64)), st.booleans())
SCALARS = st.one_of(INTS, st.just(Bool()))
KTYPES = st.builds(KType, TEXTS, st.sampled_from(("struct", "union", "enum", "typedef", "other")))

FIELDS = st.builds(Field, TEXTS, st.deferred(lambda: LAYOUTS), st.integers(0, 40), st.integers(0, 7), st.integers(0, 9))
STRUCTS = st.builds(Struct, TEXTS, st.lists(FIELDS, max_size=3), st.integers(0, 64), st.sampled_from((0, 1, 4, 8)))
ENUMS = st.builds(Enum, TEXTS, INTS, st.lists(st.tuples(TEXTS, NUMBERS), max_size=3))
LAYOUTS: st.SearchStrategy[Layout] = st.deferred(
    lambda: st.one_of(
        SCALARS,
        st.builds(Char, st.integers(0, 20)),
        st.builds(Bytes, st.integers(0, 20)),
        st.builds(Array, LAYOUTS, st.integers(0, 3)),
        ENUMS,
        STRUCTS,
    )
)
POINTEES = st.deferred(lambda: st.one_of(st.none(), LAYOUTS, KTYPES, KARRAYS, POINTERS))
KARRAYS = st.builds(KArray, st.deferred(lambda: st.one_of(LAYOUTS, KTYPES, KARRAYS, POINTERS)), st.integers(0, 9))
POINTERS = st.builds(Ptr, st.sampled_from(Space), POINTEES, st.booleans(), st.none() | st.integers(0, 99))
VALUE_TYPES = st.one_of(SCALARS, POINTERS, st.sampled_from((MAP_REF, FUNC_REF)))
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, st.binary(max_size=4), st.floats(allow_nan=False).filter(
        lambda value: abs(value) != float("inf"))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.lists(inner, max_size=3).map(tuple), st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip
SPANS = st.one_of(
    st.just(NO_SPAN),
    st.builds(Span, TEXTS, st.integers(0, 9), st.integers(-1, 9), st.none() | st.integers(0, 9),
              st.none() | st.integers(-1, 9)),
)  # fmt: skip
STEPS = st.lists(st.tuples(TEXTS | st.integers(0, 9), st.one_of(LAYOUTS, KTYPES, KARRAYS, POINTERS)), max_size=3).map(
    tuple
)
ATTRIBUTES = {
    "int": NUMBERS, "size": st.integers(1, 2**40), "offset": st.integers(0, 2**40), "bool": st.booleans(),
    "bytes": st.binary(max_size=4), "ktype": KTYPES, "steps": STEPS,
    "cases": st.lists(st.tuples(NUMBERS, TEXTS), max_size=3).map(tuple),
    **dict.fromkeys(("str", "local", "map", "global", "function", "label"), TEXTS),
}  # fmt: skip


@st.composite
def functions(draw, name):
    """A function of the right shape; neither its types nor its labels need to make sense."""
    kind = draw(st.sampled_from(("program", "inline", "static", "global", "callback", "odd kind")))
    names = draw(st.lists(TEXTS, min_size=1, max_size=9, unique=True))
    values = [Value(text, draw(VALUE_TYPES)) for text in names]
    count = draw(st.integers(0, len(values)))
    hook = draw(st.none() | st.builds(Hook, TEXTS, TEXTS, st.dictionaries(TEXTS, PLAIN, max_size=2)))
    made = Function(
        name, values[:count], draw(VALUE_TYPES | st.just(VOID)), kind=kind, section=draw(TEXTS), hook=hook,
        sleepable=draw(st.booleans()), span=draw(SPANS),
    )  # fmt: skip
    for key in draw(st.lists(TEXTS, max_size=2, unique=True)):
        made.locals[key] = Local(draw(st.just(key) | TEXTS), draw(VALUE_TYPES | LAYOUTS), draw(SPANS))
    results = values[count:]
    for label in draw(st.lists(TEXTS, max_size=3, unique=True)):
        block = Block(label)
        for _ in range(draw(st.integers(0, 3))):
            block.ops.append(draw(operations(values, results)))
        made.blocks.append(block)
    # Every value that is used must be defined somewhere.
    tail = Block(draw(TEXTS.filter(lambda text: all(block.label != text for block in made.blocks))))
    tail.ops = [Op("const", (), {"value": draw(NUMBERS)}, value, draw(SPANS)) for value in results]
    made.blocks.append(tail)
    return made


@st.composite
def operations(draw, values, results):
    row = OPS[draw(st.sampled_from(sorted(OPS)))]
    args = []
    for kind in row.operands:
        times = draw(st.integers(0, 1 if kind[-1] == "?" else 3)) if kind[-1] in "?*" else 1
        args += [draw(st.sampled_from(values)) for _ in range(times)]
        if kind[-1] == "?" and not times:
            break
    attrs = {}
    for key, kind in row.attrs.items():
        if kind[-1] == "?" and draw(st.booleans()):
            if draw(st.booleans()):
                attrs[key] = None
            continue
        attrs[key] = draw(ATTRIBUTES[kind.removesuffix("?")])
    result = None
    if row.result not in ("void", "any") or (row.result == "any" and results and draw(st.booleans())):
        if not results:
            return Op("br", (), {"to": draw(TEXTS)}, None, draw(SPANS))
        result = results.pop()
    return Op(row.name, tuple(args), attrs, result, draw(SPANS))


@st.composite
def map_specs(draw, name, depth=0):
    made = MapSpec(
        name, draw(TEXTS), key=draw(st.none() | LAYOUTS), value=draw(st.none() | LAYOUTS),
        key_size=draw(st.integers(0, 9)), value_size=draw(st.integers(0, 9)), max_entries=draw(st.integers(0, 9)),
        flags=draw(st.integers(0, 2**20)), extra=draw(st.integers(0, 2)), numa_node=draw(st.integers(-1, 2)),
        pin=draw(TEXTS), inner=draw(st.none() | map_specs(draw(TEXTS), depth + 1)) if depth < 2 else None,
        contents=draw(st.lists(st.tuples(st.binary(max_size=3), st.binary(max_size=3) | TEXTS), max_size=2)),
        frozen=draw(st.booleans()), section=draw(TEXTS), key_btf=draw(st.integers(0, 2)),
        value_btf=draw(st.integers(0, 2)), role=draw(TEXTS),
    )  # fmt: skip
    if draw(st.booleans()):
        made.key_size = draw(st.integers(0, 9))
    return made


@st.composite
def modules(draw):
    made = Module(draw(TEXTS), draw(TEXTS))
    for key in draw(st.lists(TEXTS, max_size=2, unique=True)):
        made.maps[key] = draw(map_specs(draw(st.just(key) | TEXTS)))
    for key in draw(st.lists(TEXTS, max_size=2, unique=True)):
        layout = draw(LAYOUTS)
        init = draw(st.just(b"") | st.binary(min_size=1, max_size=5))
        made.globals[key] = Global(draw(st.just(key) | TEXTS), layout, draw(TEXTS), init, draw(SPANS))
    for key in draw(st.lists(TEXTS, max_size=2, unique=True)):
        columns = draw(st.dictionaries(TEXTS, TEXTS, max_size=2))
        made.events[key] = EventSchema(draw(TEXTS), draw(st.just(key) | TEXTS), draw(STRUCTS), columns)
    made.extras = draw(st.dictionaries(TEXTS, PLAIN, max_size=2))
    for key in draw(st.lists(TEXTS, max_size=2, unique=True)):
        made.functions[key] = draw(functions(draw(st.just(key) | TEXTS)))
    return made


def plain(thing):
    """Everything that a module says, as nested tuples with the kinds of all values."""
    if isinstance(thing, Layout):
        return ("layout", thing.plain())
    if isinstance(thing, (KType, KArray, Ptr)):
        return (type(thing).__name__, str(thing), thing.__class__, hash(thing), thing)
    if isinstance(thing, (tuple, list)):
        return (type(thing).__name__, tuple(plain(item) for item in thing))
    if isinstance(thing, dict):
        return ("dict", tuple((plain(key), plain(value)) for key, value in thing.items()))
    if isinstance(thing, Op):
        return (
            thing.name, tuple(arg.name for arg in thing.args), plain(thing.attrs),
            thing.result and (thing.result.name, plain(thing.result.type)), thing.span._key(),
        )  # fmt: skip
    if isinstance(thing, Function):
        return (
            thing.name, [(param.name, plain(param.type)) for param in thing.params], plain(thing.result), thing.kind,
            thing.section, thing.hook and plain((thing.hook.kind, thing.hook.target, thing.hook.options)),
            thing.sleepable, thing.span._key(),
            [(key, local.name, plain(local.type), local.span._key()) for key, local in thing.locals.items()],
            [(block.label, [plain(op) for op in block.ops]) for block in thing.blocks],
        )  # fmt: skip
    if isinstance(thing, MapSpec):
        return plain(thing.plain())
    if isinstance(thing, Module):
        return (
            thing.name, thing.license, [(key, plain(spec)) for key, spec in thing.maps.items()],
            [(key, one.name, plain(one.layout), one.section, one.init, one.span._key())
             for key, one in thing.globals.items()],
            [(key, one.name, one.map_name, plain(one.layout), plain(one.columns))
             for key, one in thing.events.items()],
            plain(thing.extras), [(key, plain(one)) for key, one in thing.functions.items()],
        )  # fmt: skip
    return (type(thing).__name__, thing)
