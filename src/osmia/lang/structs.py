"""Structs and events: from an annotated class to a light class with a memory layout.

A generated class has ``__slots__``, an ``__init__`` by position and keyword, equality and a ``repr``. It is made
without
``dataclasses``, whose import alone costs more than a whole cached start.
"""

from __future__ import annotations

import sys

from osmia.diagnostics import UsageError
from osmia.lang.types import layout_of, type_name
from osmia.object.layout import Array, Bool, Bytes, Char, Layout, Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    _C = TypeVar("_C")


def annotations_of(cls: type, frame: Any = None) -> dict[str, Any]:
    """A class's own annotations with strings evaluated where the class was written.

    :raises UsageError: PY002 when a name in an annotation is unknown.
    """
    found = dict(getattr(cls, "__annotations__", None) or {})
    module = sys.modules.get(cls.__module__)
    space = getattr(module, "__dict__", {})
    local = dict(frame.f_locals) if frame is not None else {}
    if frame is not None:
        space = frame.f_globals
    for name, value in found.items():
        if isinstance(value, str):
            try:
                found[name] = eval(value, space, local)  # program files are code already
            except Exception as error:  # noqa: BLE001 - whatever the annotation's expression raises
                raise UsageError(
                    "PY002", f"field {name!r} of {cls.__name__}: type {value!r} cannot be evaluated: {error}"
                ) from None
    return found


def zero_of(layout: Layout) -> Any:
    """The Python value of all-zero bytes."""
    return layout.unpack(bytes(layout.size))


def struct_class(cls: type[_C], frame: Any = None) -> type[_C]:
    """The class that stands for a struct: same name and methods, fields from the annotations.

    :raises UsageError: PY001 for a class without fields, PY002 for a field without a layout.
    """
    if cls.__bases__ != (object,):
        raise UsageError(
            "PY001", f"struct {cls.__name__} has a base class", hint="write its fields out, or nest a struct as a field"
        )
    annotations = annotations_of(cls, frame)
    if not annotations:
        raise UsageError("PY001", f"struct {cls.__name__} has no fields", hint="write fields such as `pid: u32`")
    members = [(name, layout_of(type_, f"field {name!r} of {cls.__name__}")) for name, type_ in annotations.items()]
    names = tuple(annotations)
    defaults = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
    body: dict[str, Any] = {
        key: value
        for key, value in cls.__dict__.items()
        if key not in names and key not in ("__dict__", "__weakref__", "__slots__") and not key.startswith("__annotat")
    }
    body.update(
        __slots__=names,
        __init__=_init(cls.__name__, names, defaults),
        __annotations__=annotations,
        __match_args__=names,
        __defaults_by_field__=defaults,
    )
    body.setdefault("__repr__", _repr)
    body.setdefault("__eq__", _eq)
    body.setdefault("__hash__", _hash)
    made: Any = type(cls.__name__, cls.__bases__, body)
    made.__layout__ = Struct.of(cls.__name__, members, made)
    for name, value in defaults.items():
        _check_default(cls.__name__, name, made.__layout__.field(name).type, value)
    return made  # type: ignore[no-any-return]


def _check_default(owner: str, name: str, layout: Layout, value: Any) -> None:
    try:
        layout.pack(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError("PY002", f"default of field {name!r} of {owner}: {error}") from None


def _init(owner: str, names: tuple[str, ...], defaults: dict[str, Any]) -> Any:
    """The ``__init__`` of a struct class; the fast form is compiled at the first call, since many classes never see
    one."""
    required = tuple(name for name in names if name not in defaults)
    late = [name for name in names if name in defaults]
    fast = "self" not in names and names == required + tuple(late)

    def __init__(self: Any, *values: Any, **named: Any) -> None:
        if fast:
            type(self).__init__ = _compiled(names, required, late, defaults)
            type(self).__init__(self, *values, **named)
            return
        given = dict(defaults)
        if len(values) > len(names):
            raise TypeError(f"{owner} has {len(names)} fields, {len(values)} values were given")
        given.update(zip(names, values, strict=False))
        for name, value in named.items():
            if name not in names:
                raise TypeError(f"{owner} has no field {name!r}")
            given[name] = value
        for name in names:
            if name not in given:
                raise TypeError(f"{owner} needs a value for {name!r}")
            item: Any = given[name]
            shared = isinstance(item, list) and id(item) == id(defaults.get(name))
            setattr(self, name, list(item) if shared else item)

    return __init__


def _compiled(names: tuple[str, ...], required: tuple[str, ...], late: list[str], defaults: dict[str, Any]) -> Any:
    """An ``__init__`` with the fields as parameters: decoding an event calls it once. Every object gets its own
    lists."""
    params = ", ".join([*required, *(f"{name}=_d[{name!r}]" for name in late)])
    lines = "\n".join(
        f"    self.{name} = list({name}) if {name} is _d[{name!r}] else {name}"
        if isinstance(defaults.get(name), list)
        else f"    self.{name} = {name}"
        for name in names
    )
    space: dict[str, Any] = {"_d": defaults}
    exec(f"def __init__(self, {params}):\n{lines}\n", space)  # names are identifiers: the class had them as such
    return space["__init__"]


def _values(item: Any) -> tuple[Any, ...]:
    return tuple(getattr(item, name) for name in item.__slots__)


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
    return f"{type(self).__name__}({shown})"


def _eq(self: Any, other: object) -> bool:
    return type(other) is type(self) and _values(self) == _values(other)


def _hash(self: Any) -> int:
    return hash(_values(self))


def describe(layout: Layout) -> str:
    """A layout in the words of a program file, for messages: ``Char[16]``, ``u32``, ``Open``."""
    if isinstance(layout, Struct):
        if layout.name == "tuple":
            return f"({', '.join(describe(field.type) for field in layout.fields)})"
        return layout.name
    if isinstance(layout, Array):
        return f"Array[{describe(layout.element)}, {layout.count}]"
    if isinstance(layout, Char):
        return f"Char[{layout.size}]"
    if isinstance(layout, Bytes):
        return f"Bytes[{layout.size}]"
    return "bool" if isinstance(layout, Bool) else str(layout)


__all__ = ["annotations_of", "describe", "struct_class", "type_name", "zero_of"]
