"""A program's cache key: everything that its compiled form depends on, found without the compiler.

The source files of all functions involved, what their names mean (constants, maps, structs, options, helpers), the
hooks, and
the versions. It errs on the side of compiling anew: a changed comment changes the key.
"""

from __future__ import annotations

import os
import sys

from osmia.diagnostics import CompileError, Span
from osmia.lang.builtins import Helper
from osmia.lang.hooks import HelperFunction, KernelFunction, Kfunc
from osmia.lang.maps import Buffer, Histogram, MapDecl
from osmia.lang.program import Option, Var
from osmia.lang.types import KernelName, KernelType, TypeObject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.lang.program import ProgramDecl

_FUNCTION = type(lambda: None)
_MODULE = type(sys)
_PLAIN = (int, float, str, bytes, type(None))
_DEPTH = 6


class _Collector:
    """Gathers descriptions; every object is described once."""

    def __init__(self, decl: ProgramDecl) -> None:
        self.decl = decl
        self.parts: list[str] = []
        self.files: dict[str, None] = {}
        self.seen: set[int] = set()

    def function(self, function: Any) -> None:
        """A function, and all it refers to."""
        code = function.__code__
        if id(code) in self.seen:
            return
        self.seen.add(id(code))
        self.files[code.co_filename] = None
        space = function.__globals__
        names = code.co_names
        self.parts.append(f"function {code.co_filename}:{code.co_firstlineno} {code.co_name}")
        self.parts.append(repr(function.__defaults__) + repr(function.__kwdefaults__))
        for name in names:
            if name in space:
                self.value(name, space[name], names)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                self.value(name, cell.cell_contents, names)
            except ValueError:
                self.parts.append(f"{name} empty")

    def value(self, name: str, value: Any, names: tuple[str, ...] = (), depth: int = 0) -> None:
        """What a name means."""
        self.parts.append(f"{name} = {self.text(value, names, depth)}")

    def text(self, value: Any, names: tuple[str, ...], depth: int) -> str:
        """An object as text that changes with everything the compiler looks at."""
        if isinstance(value, _PLAIN):
            members = getattr(type(value), "__members__", None)
            return f"{type(value).__name__} {value!r}" if members is not None else repr(value)
        if depth > _DEPTH:
            return f"deep {type(value).__name__}"
        if isinstance(value, (tuple, list)):
            return f"{type(value).__name__}[{', '.join(self.text(item, names, depth + 1) for item in value)}]"
        if isinstance(value, (set, frozenset)):
            return f"set{sorted(self.text(item, names, depth + 1) for item in value)}"
        if isinstance(value, dict):
            items = [f"{self.text(k, names, depth + 1)}: {self.text(v, names, depth + 1)}" for k, v in value.items()]
            return "{" + ", ".join(items) + "}"
        if isinstance(value, _FUNCTION):
            self.function(value)
            return f"function {value.__module__}.{value.__qualname__}"
        if isinstance(value, HelperFunction):
            self.function(value.function)
            return f"helper function {value.name} {value.inline}"
        if isinstance(value, _MODULE):
            space = vars(value)
            for name in names:
                if name in space and not name.startswith("__"):
                    self.value(f"{value.__name__}.{name}", space[name], (), depth + 1)
            return f"module {value.__name__}"
        return self._known(value) or self._other(value, names, depth)

    def _known(self, value: Any) -> str:
        if isinstance(value, MapDecl):
            return f"map {value.name}" if value.program is self.decl else f"other map {value.name}"
        if isinstance(value, Var):
            return f"variable {value.name}"
        if isinstance(value, Option):
            return f"option {value.name}"
        if isinstance(value, KernelFunction):
            return f"program {value.name}"
        if isinstance(value, Kfunc):
            annotations = getattr(value.function, "__annotations__", {})
            return f"kfunc {value.name} {value.weak} {annotations}"
        if isinstance(value, TypeObject):
            return f"type {value.name} {value.layout.plain()}"
        if isinstance(value, (KernelType, KernelName, Helper)):
            return f"{type(value).__name__} {value!r}"
        return ""

    def _other(self, value: Any, names: tuple[str, ...], depth: int) -> str:
        if isinstance(value, type):
            layout = value.__dict__.get("__layout__")
            if layout is not None:
                return f"struct {layout.plain()} {value.__dict__.get('__defaults_by_field__')!r}"
            members = getattr(value, "__members__", None)
            if members is not None:
                return f"enum {value.__name__} {[(name, member.value) for name, member in members.items()]}"
            for name in names:
                if name in vars(value):
                    self.value(f"{value.__name__}.{name}", vars(value)[name], (), depth + 1)
            return f"class {value.__module__}.{value.__qualname__}"
        if hasattr(type(value), "__layout__"):
            return repr(value)
        own = getattr(value, "__dict__", None)
        if own:
            for name in names:
                if name in own:
                    self.value(f".{name}", own[name], names, depth + 1)
        return f"object of {type(value).__module__}.{type(value).__qualname__}"


def _map_text(decl: MapDecl) -> str:
    parts: list[Any] = [
        decl.name, decl.kind, decl.key_layout and decl.key_layout.plain(),
        decl.value_layout and decl.value_layout.plain(),
        decl.max_entries, decl.flags, decl.extra, decl.pin, decl.role,
        decl.inner and _map_text(decl.inner),
        [(key, getattr(value, "name", value)) for key, value in decl.contents.items()],
    ]  # fmt: skip
    if isinstance(decl, Buffer):
        parts += [decl.event.__name__, decl.event_layout.plain(), decl.columns]
    if isinstance(decl, Histogram):
        parts += [decl.scale, decl.low, decl.high, decl.step, decl.unit]
    return repr(parts)


def source_key(decl: ProgramDecl, salt: bytes = b"") -> bytes:
    """A digest of 20 bytes that is equal only where compiling gives the same object.

    :param salt: versions of the compiler and of the cached form.
    :raises CompileError: PY100 when a source file cannot be read.
    """
    from _blake2 import blake2b  # hashlib itself takes milliseconds to import

    decl.resolve_names()
    found = _Collector(decl)
    parts = found.parts
    parts.append(f"{sys.implementation.cache_tag} {os.uname().machine} {decl.name} {decl.license}")
    for function in decl.functions:
        hook = function.hook
        options = {key: value.name if isinstance(value, MapDecl) else value for key, value in hook.options.items()}
        parts.append(f"program {function.name} {hook.kind} {hook.target} {options}")
        parts.append(f"{function.filtered} {function.sleepable} {function.when}")
        found.function(function.function)
    parts += [_map_text(item) for item in decl.maps]
    parts += [f"var {item.name} {item.layout.plain()} {item.initial!r}" for item in decl.variables]
    parts += [f"option {item.name} {item.layout.plain()} {item.default!r}" for item in decl.options]
    digest = blake2b(salt, digest_size=20)
    digest.update("\n".join(parts).encode("utf-8", "surrogatepass"))
    for name in found.files:
        digest.update(b"\0" + os.fsencode(name) + b"\0" + _contents(name))
    return digest.digest()


def _contents(name: str) -> bytes:
    from osmia.diagnostics.sources import source_lines

    try:
        with open(name, "rb") as file:
            return file.read()
    except (OSError, ValueError):
        lines = source_lines(name)
        if lines is None:
            raise CompileError(
                "PY100", f"the source of {name} cannot be read", span=Span(name),
                hint="kernel functions are compiled from their source text: keep them in a file",
            ) from None  # fmt: skip
        return "\n".join(lines).encode()
