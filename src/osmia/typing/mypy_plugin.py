"""A mypy plugin for program files.

- Sizes in types: ``Char[16]`` is a ``str``, ``Bytes[6]`` is ``bytes``, ``Array[u32, 4]`` a list. Static checkers
refuse a bare number
  as a type argument; ``Annotated[str, Char[16]]`` works without the plugin.
- Classes under ``@prog.event`` and ``@prog.struct`` get the ``__init__`` that their annotations describe. mypy does
not look for
  ``dataclass_transform`` behind a method of an object.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.nodes import CallExpr, ClassDef, Expression, MemberExpr, NameExpr
from mypy.plugin import AnalyzeTypeContext, ClassDefContext, Plugin
from mypy.types import AnyType, Type, TypeOfAny

_SCALARS = {"osmia.lang.types.Char": "builtins.str", "osmia.lang.types.Bytes": "builtins.bytes"}
_ARRAY = "osmia.lang.types.Array"
_DECORATORS = ("event", "struct")
_DATACLASS = "dataclasses.dataclass"


def _sized(target: str) -> Callable[[AnalyzeTypeContext], Type]:
    def analyze(context: AnalyzeTypeContext) -> Type:
        if len(context.type.args) != 1:
            context.api.fail(f"{context.type.name} takes one size, as in {context.type.name}[16]", context.context)
        return context.api.named_type(target, [])

    return analyze


def _array(context: AnalyzeTypeContext) -> Type:
    if len(context.type.args) != 2:
        context.api.fail("Array takes an element type and a count, as in Array[u32, 4]", context.context)
        return AnyType(TypeOfAny.from_error)
    element = context.api.analyze_type(context.type.args[0])
    return context.api.named_type("builtins.list", [element])


def _program_decorator(decorator: Expression) -> MemberExpr | None:
    """``prog.event`` of ``@prog.event`` and of ``@prog.event(columns=...)``."""
    if isinstance(decorator, CallExpr):
        decorator = decorator.callee
    if isinstance(decorator, MemberExpr) and decorator.name in _DECORATORS and isinstance(decorator.expr, NameExpr):
        return decorator
    return None


def _mark(context: ClassDefContext) -> None:
    """Lets the decorators of structs and events go for ``dataclass``, whose rules theirs are."""
    definition: ClassDef = context.cls
    for decorator in definition.decorators:
        member = _program_decorator(decorator)
        if member is not None and isinstance(member.expr, NameExpr) and _declares_programs(context, member.expr.name):
            member.fullname = _DATACLASS


def _declares_programs(context: ClassDefContext, name: str) -> bool:
    """Whether the decorator's object can be a program: a variable of a module that has names of Osmia in it."""
    module = context.cls.fullname.partition(f".{context.cls.name}")[0]
    modules = getattr(context.api, "modules", {})
    while module and module not in modules:
        module = module.rpartition(".")[0]
    names = modules[module].names if module else {}
    return any((symbol.fullname or "").startswith("osmia.") for symbol in names.values())


class OsmiaPlugin(Plugin):
    """Replaces the sized types by what they are in user space, and types the classes of events."""

    def get_type_analyze_hook(self, fullname: str) -> Callable[[AnalyzeTypeContext], Type] | None:
        """The hook for one of Osmia's sized types, by its full name."""
        if fullname in _SCALARS:
            return _sized(_SCALARS[fullname])
        return _array if fullname == _ARRAY else None

    def get_customize_class_mro_hook(self, fullname: str) -> Callable[[ClassDefContext], None] | None:
        """Looks at every class once, before its decorators are asked about."""
        return _mark


def plugin(version: str) -> type[Plugin]:
    """Entry point that mypy calls with its version."""
    return OsmiaPlugin
