"""The types of a program file: integers of every width, text, bytes, arrays, and names of kernel types.

Each is an object that works as an annotation, as a key or value type of a map, and (integers) as a cast. To a type
checker ``u32`` is ``int``, ``Char[16]`` is ``str``, ``Bytes[6]`` is ``bytes`` and ``Array[u32, 4]`` is ``list[int]``;
``osmia.typing.mypy_plugin`` teaches mypy the sizes. ``Annotated[str, Char[16]]`` means the same to every checker.
"""

from __future__ import annotations

from osmia.diagnostics import UsageError
from osmia.object import layout as L

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _T = TypeVar("_T")


class TypeObject:
    """What a program file writes for a type. ``layout`` is its memory layout."""

    __slots__ = ("layout", "name")
    layout: L.Layout

    def __init__(self, name: str, layout: L.Layout) -> None:
        self.name = name
        self.layout = layout

    def __repr__(self) -> str:
        return self.name

    def __or__(self, other: object) -> TypeObject:
        return self

    __ror__ = __or__

    def __call__(self, *values: Any) -> Any:
        raise UsageError("PY004", f"{self.name} cannot be called in user space", hint="write a plain Python value")


class IntObject(TypeObject):
    """An integer type. ``u32(x)`` converts: it keeps the low bits, in user space as in the kernel."""

    __slots__ = ("bits", "signed")

    def __init__(self, bits: int, signed: bool) -> None:
        super().__init__(f"{'s' if signed else 'u'}{bits}", L.Int(bits, signed))
        self.bits = bits
        self.signed = signed

    def __call__(self, *values: Any) -> int:
        value = int(values[0] if values else 0) & ((1 << self.bits) - 1)
        return value - (1 << self.bits) if self.signed and value >> (self.bits - 1) else value


class SizedObject(TypeObject):
    """``Char[n]`` or ``Bytes[n]``."""

    __slots__ = ("size",)

    def __init__(self, name: str, layout: L.Layout) -> None:
        super().__init__(name, layout)
        self.size = layout.size


class ArrayObject(TypeObject):
    """``Array[T, n]``."""

    __slots__ = ("count", "element")

    def __init__(self, element: Any, count: int) -> None:
        inner = layout_of(element)
        super().__init__(f"Array[{type_name(element)}, {count}]", L.Array(inner, count))
        self.element = element
        self.count = count


class _Sizer:
    __slots__ = ("make", "name")

    def __init__(self, name: str, make: type[L.Char] | type[L.Bytes]) -> None:
        self.name = name
        self.make = make

    def __getitem__(self, size: Any) -> SizedObject:
        count = _count(size, self.name)
        return SizedObject(f"{self.name}[{count}]", self.make(count))

    def __repr__(self) -> str:
        return self.name

    def __call__(self, *values: Any) -> Any:
        raise UsageError("PY004", f"{self.name} needs a size", hint=f"write {self.name}[16]")


class _ArraySizer:
    __slots__ = ()

    def __getitem__(self, item: Any) -> ArrayObject:
        if not isinstance(item, tuple) or len(item) != 2:
            raise UsageError("PY003", "Array takes an element type and a count", hint="write Array[u32, 4]")
        return ArrayObject(item[0], _count(item[1], "Array"))

    def __repr__(self) -> str:
        return "Array"


def _count(size: Any, name: str) -> int:
    # Literal[16] carries its number in __args__; a bare 16 is what the mypy plugin allows.
    inner = getattr(size, "__args__", None)
    if isinstance(inner, tuple) and len(inner) == 1:
        size = inner[0]
    if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= 1 << 20:
        raise UsageError("PY003", f"{name} takes a size between 1 and {1 << 20}, not {size!r}")
    return size


class KernelType:
    """A kernel struct, union, enum or typedef, known by its name alone until a program is compiled.

    ``from osmia.ktypes import task_struct`` makes one. An attribute of a kernel enum is its enumerator:
    ``tcp_state.TCP_ESTABLISHED``; it is looked up in the running kernel's BTF.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def __or__(self, other: object) -> KernelType:
        return self

    __ror__ = __or__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KernelType) and self.name == other.name

    def __hash__(self) -> int:
        return hash(("KernelType", self.name))

    def __getattr__(self, name: str) -> KernelName:
        if name.startswith("__"):
            raise AttributeError(name)
        return KernelName(self, name)

    def __call__(self, *values: Any) -> Any:
        raise UsageError("PY004", f"kernel type {self.name} cannot be made in user space")


class KernelName:
    """A name inside a kernel type, such as an enumerator; it has a value only in kernel code."""

    __slots__ = ("name", "type")

    def __init__(self, type: KernelType, name: str) -> None:
        self.type = type
        self.name = name

    def __repr__(self) -> str:
        return f"{self.type.name}.{self.name}"


class KernelEnum(TypeObject):
    """A kernel enum as the type of a field: four bytes, with names from BTF when the program is compiled."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        super().__init__(name, L.Enum(name, L.U32))

    def __getattr__(self, name: str) -> KernelName:
        if name.startswith("__"):
            raise AttributeError(name)
        return KernelName(KernelType(self.name), name)


if TYPE_CHECKING:
    u8 = int
    u16 = int
    u32 = int
    u64 = int
    s8 = int
    s16 = int
    s32 = int
    s64 = int

    class _CharMeta(type):
        def __getitem__(cls, size: int) -> type[str]: ...

    class Char(metaclass=_CharMeta):
        """Text of at most ``n`` bytes, ended by a NUL byte or the end."""

    class _BytesMeta(type):
        def __getitem__(cls, size: int) -> type[bytes]: ...

    class Bytes(metaclass=_BytesMeta):
        """``n`` raw bytes."""

    class _ArrayMeta(type):
        def __getitem__(cls, item: tuple[type[_T], int]) -> type[list[_T]]: ...

    class Array(metaclass=_ArrayMeta):
        """``n`` elements of one type."""

    def kenum(name: str) -> type[int]:
        """The kernel enum of that name as a field's type."""
        ...
else:
    u8, u16, u32, u64 = (IntObject(bits, False) for bits in (8, 16, 32, 64))
    s8, s16, s32, s64 = (IntObject(bits, True) for bits in (8, 16, 32, 64))
    Char = _Sizer("Char", L.Char)
    Bytes = _Sizer("Bytes", L.Bytes)
    Array = _ArraySizer()
    kenum = KernelEnum


def type_name(annotation: Any) -> str:
    """The name of a type as a program file writes it."""
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__name__
    return repr(annotation)


def layout_of(annotation: Any, where: str = "") -> L.Layout:
    """The memory layout of a type that a program file wrote.

    Integers, ``bool``, ``int`` (64 bits, signed), ``Char[n]``, ``Bytes[n]``, ``Array[T, n]``, structs and events,
    ``IntEnum``
    classes, ``tuple[...]`` and tuples of types (a struct with fields ``_0``, ``_1``...), and ``Annotated[x, T]``.

    :param where: what the type is for, named in errors (``field 'pid' of Open``).
    :raises UsageError: PY002 when it has no fixed layout.
    """
    if isinstance(annotation, TypeObject):
        return annotation.layout
    metadata = getattr(annotation, "__metadata__", None)
    if metadata:
        return layout_of(metadata[-1], where)
    if isinstance(annotation, tuple) or getattr(annotation, "__origin__", None) is tuple:
        parts = annotation if isinstance(annotation, tuple) else annotation.__args__
        return tuple_layout([layout_of(part, where) for part in parts])
    if annotation is bool:
        return L.BOOL
    if annotation is int:
        return L.S64
    if isinstance(annotation, type):
        own = annotation.__dict__.get("__layout__")
        if own is not None:
            return own  # type: ignore[no-any-return]
        members = getattr(annotation, "__members__", None)
        if members is not None and issubclass(annotation, int):
            return enum_layout(annotation)
    raise _no_layout(annotation, where)


def tuple_layout(parts: list[L.Layout]) -> L.Struct:
    """The struct that holds a tuple: fields ``_0``, ``_1``... in order, naturally aligned."""
    return L.Struct.of("tuple", [(f"_{index}", part) for index, part in enumerate(parts)])


def enum_layout(cls: Any) -> L.Enum:
    """The layout of an ``IntEnum`` class: 32 bits where all members fit, else 64; signed if one is negative."""
    members = [(name, int(member)) for name, member in cls.__members__.items()]
    low = min((number for _, number in members), default=0)
    high = max((number for _, number in members), default=0)
    for base in (L.U32, L.S32, L.U64, L.S64):
        least, most = base.range()
        if least <= low and high <= most:
            return L.Enum(cls.__name__, base, members)
    raise UsageError("PY002", f"the members of {cls.__name__} do not fit 64 bits")


# Fields of map values that the kernel itself manages, and what to do without them.
_KERNEL_OWNED = {
    "bpf_spin_lock": "count with `m[k] += 1`, which is atomic, or keep one value per CPU (percpu_hash)",
    "bpf_res_spin_lock": "count with `m[k] += 1`, which is atomic, or keep one value per CPU (percpu_hash)",
    "bpf_timer": "use a program of its own: @prog.interval(...) in the kernel, @prog.every(...) in user space",
    "bpf_wq": "do the work in a program of its own, or in user space: @prog.every(...)",
    "bpf_list_head": "keep a queue: prog.queue(...)",
    "bpf_list_node": "keep a queue: prog.queue(...)",
    "bpf_rb_root": "keep a hash map and sort in user space",
    "bpf_rb_node": "keep a hash map and sort in user space",
    "bpf_refcount": "keep a number and add to it atomically",
    "bpf_dynptr": "events of varying size: reserve room for the largest",
}


_OWNED = {
    "bpf_timer": "timers", "bpf_spin_lock": "spin locks", "bpf_res_spin_lock": "spin locks", "bpf_wq": "work queues",
    "bpf_dynptr": "dynptrs", "bpf_list_head": "lists", "bpf_list_node": "lists", "bpf_rb_root": "trees",
    "bpf_rb_node": "trees", "bpf_refcount": "reference counts",
}  # fmt: skip
"""Kernel types with rules of ownership, by name, and what they are for."""


def _no_layout(annotation: Any, where: str) -> UsageError:
    shown = type_name(annotation)
    hint = "use u8..u64, s8..s64, bool, Char[n], Bytes[n], Array[T, n], an IntEnum or a @prog.struct class"
    if annotation is str:
        hint = "text has a fixed size in the kernel: write Char[16]"
    elif annotation is bytes:
        hint = "bytes have a fixed size in the kernel: write Bytes[16]"
    elif annotation is float:
        hint = "the kernel has no floating point: keep a scaled integer, such as nanoseconds in a u64"
    elif annotation is list or getattr(annotation, "__origin__", None) is list:
        hint = "lists have a fixed size in the kernel: write Array[u32, 4]"
    elif shown in _KERNEL_OWNED:
        return UsageError(
            "PY002",
            f"{where or 'a type'}: {shown} in a map value is not supported",
            hint=_KERNEL_OWNED[shown],
        )
    elif isinstance(annotation, KernelType) and annotation.name in _OWNED:
        hint = f"{_OWNED[annotation.name]} in map values are not supported in this version"
    elif isinstance(annotation, KernelType):
        hint = "a kernel struct cannot be copied whole: keep the fields you need, or its address in a u64"
    elif isinstance(annotation, (_Sizer, _ArraySizer)):
        hint = f"give its size: {annotation!r}[16]"
    return UsageError("PY002", f"{where or 'a type'}: {shown} has no fixed layout", hint=hint)
