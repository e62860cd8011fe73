"""The cache key of a program: everything that its object depends on, found without parsing anything.

The key covers the text of every source file involved, the declarations (maps, variables, options, hooks) and the
values that kernel functions capture from Python. It may take in more than the compiler looks at, never less.
"""

from __future__ import annotations

import os
import sys
from types import FunctionType, ModuleType

from osmia.lang.hooks import HelperFunction, KernelFunction, Kfunc
from osmia.lang.maps import MapDecl
from osmia.lang.program import Option, Var
from osmia.object.layout import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any

    from osmia.lang.program import ProgramDecl

_PLAIN = (int, str, bytes, float, bool, type(None))


def source_key(program: ProgramDecl, salt: bytes = b"") -> bytes:
    """20 bytes that differ whenever the program's object may differ. Call :meth:`resolve_names` first.

    :param salt: versions and target, whatever else the object depends on.
    """
    from _blake2 import blake2b

    walk = _Walk()
    walk.add("program", program.name, program.license, sys.implementation.cache_tag, os.uname().machine)
    for declared in program.maps:
        walk.value(declared)
    for variable in (*program.variables, *program.options):
        walk.value(variable)
    for function in program.functions:
        walk.value(function)
    for buffer, _ in program.handlers:
        walk.add("handler", buffer.name)
    walk.file(program.file)
    digest = blake2b(salt + _checkout_state(), digest_size=20)
    for part in walk.parts:
        digest.update(part)
        digest.update(b"\0")
    return digest.digest()


class _Walk:
    """Collects what the key is made of; every object and file once."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._seen: set[int] = set()
        self._kept: list[object] = []
        self._files: set[str] = set()

    def add(self, *values: object) -> None:
        """Plain values."""
        self.parts.append(repr(values).encode("utf-8", "surrogatepass"))

    def file(self, path: str) -> None:
        """A source file's text."""
        if path in self._files:
            return
        self._files.add(path)
        try:
            with open(path, "rb") as source:
                self.parts.append(source.read())
        except OSError:
            self.add("unreadable", path)
        self.add(path)

    def value(self, value: Any) -> None:
        """Any object that a kernel function names."""
        if isinstance(value, _PLAIN):
            self.add(value)
            return
        if id(value) in self._seen:
            return
        self._seen.add(id(value))
        self._kept.append(value)  # so that no other object gets its id
        if isinstance(value, (tuple, list)):
            self.add(type(value).__name__, len(value))
            for item in value:
                self.value(item)
        elif isinstance(value, (set, frozenset)):
            self.add("set", sorted(map(repr, value)))
        elif isinstance(value, dict):
            self.add("dict", len(value))
            for key, item in value.items():
                self.value(key)
                self.value(item)
        else:
            self._object(value)

    def _object(self, value: Any) -> None:
        if isinstance(value, KernelFunction):
            hook = value.hook
            self.add("hook", value.name, hook.kind, hook.target, value.filtered, value.sleepable, value.when)
            self.value(hook.options)
            self._function(value.function)
        elif isinstance(value, HelperFunction):
            self.add("helper", value.name, value.inline)
            self._function(value.function)
        elif isinstance(value, Kfunc):
            self.add("kfunc", value.name, value.weak)
        elif isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, MapDecl):
            self._map(value)
        elif isinstance(value, Option):
            self.add("option", value.name, value.layout.plain(), value.default)
        elif isinstance(value, Var):
            self.add("variable", value.name, value.layout.plain())
            self.value(value.initial)
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, ModuleType):
            self.add("module", value.__name__)
        elif isinstance(value, Layout):
            self.add("layout", value.plain())
        elif not (type(value).__module__ or "").startswith("osmia."):
            self.add("object", repr(value))
        else:
            self.add("name", type(value).__name__, getattr(value, "name", ""))
            layout = getattr(value, "layout", None)
            if isinstance(layout, Layout):
                self.add(layout.plain())

    def _map(self, value: MapDecl) -> None:
        layouts = [
            layout.plain() if isinstance(layout, Layout) else None
            for layout in (value.key_layout, value.value_layout, getattr(value, "event_layout", None))
        ]
        self.add(
            "map", value.kind, value.name, value.max_entries, value.flags, value.extra, value.pin, value.role, layouts
        )
        self.add(
            [getattr(value, name, None) for name in ("columns", "scale", "low", "high", "step", "buckets", "unit")]
        )
        self.value(value.inner)
        self.value(value.contents)

    def _class(self, value: Any) -> None:
        layout = value.__dict__.get("__layout__")
        self.add("class", value.__name__)
        if isinstance(layout, Layout):
            self.add(layout.plain(), value.__dict__.get("__columns__"))
        members = getattr(value, "__members__", None)
        if members is not None:
            self.add([(name, member.value) for name, member in members.items()])

    def _function(self, function: Any) -> None:
        code = getattr(function, "__code__", None)
        if code is None:
            self.add("callable", repr(function))
            return
        if code.co_filename.startswith(_PACKAGE):
            self.add("own", function.__qualname__)  # Osmia's own: its version stands for it
            return
        self.file(code.co_filename)
        self.add("function", code.co_firstlineno, function.__defaults__)
        space = function.__globals__
        for name in _names(code):
            if name in space:
                captured = space[name]
                self.add(name)
                self.value(captured)
                if isinstance(captured, ModuleType) and not captured.__name__.startswith("osmia"):
                    self._module(captured, code)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:
                continue
            self.add(name)
            self.value(content)

    def _module(self, module: ModuleType, code: CodeType) -> None:
        """The attributes of a module that the function may read."""
        for name in _names(code):
            found = module.__dict__.get(name)
            if found is not None:
                self.add(module.__name__, name)
                self.value(found)


_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def _names(code: CodeType) -> list[str]:
    names = list(code.co_names)
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            names += _names(constant)
    return names


def _checkout_state() -> bytes:
    """For a checkout of Osmia: the state of the sources that compile, so that a change of theirs is never hidden."""
    if not os.path.exists(os.path.join(_PACKAGE, os.pardir, os.pardir, "pyproject.toml")):
        return b""
    newest = count = 0
    pending = [os.path.join(_PACKAGE, room) for room in ("compiler", "frontends", "lang", "object", "abi")]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    if entry.name != "__pycache__":
                        pending.append(entry.path)
                elif entry.name.endswith(".py"):
                    count += 1
                    newest = max(newest, entry.stat().st_mtime_ns)
    return b"%d %d" % (count, newest)
