"""Readable names for mangled C++ and Rust symbols.

C++ names go through ``__cxa_demangle`` of the C++ runtime library (Itanium C++ ABI), if the machine has
one; without it names stay as they are. Rust's legacy names use the same scheme with a hash at the end and
``$``-escapes, which are tidied. Rust's v0 names (``_R...``) stay as they are.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable

# Each back-reference can double the length of the result: bound how many a name may have.
_MAX_LENGTH = 4096
_MAX_REFERENCES = 40
_REFERENCE = re.compile(r"S[0-9A-Z]*_|T[0-9]*_")
_RUST_HASH = re.compile(r"::h[0-9a-f]{16}$")
_RUST_ESCAPE = re.compile(r"\$(SP|BP|RF|LT|GT|LP|RP|C|u[0-9a-f]{1,6})\$|\.\.")
_RUST_CHARS = {"SP": "@", "BP": "*", "RF": "&", "LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ","}
_VERSION = re.compile(r"@@?[\w.]+$")
_CLONE = re.compile(r"((?:\.(?:cold|part|isra|constprop|lto_priv|llvm|\d+))+)$")

_demangler: Callable[[str], str | None] | None = None


def demangle(name: str) -> str:
    """``name`` as its author wrote it, or unchanged where it is not mangled or cannot be read.

    ``_ZN3foo3barEi`` becomes ``foo::bar(int)``; a compiler's clone suffix (``.cold``, ``.part.0``) is kept.
    """
    if not name.startswith(("_Z", "__Z")):
        return name
    mangled = name[1:] if name.startswith("__Z") else name
    clone = _CLONE.search(mangled)
    suffix = clone[1] if clone else ""
    mangled = mangled.removesuffix(suffix)
    if len(mangled) > _MAX_LENGTH or len(_REFERENCE.findall(mangled)) > _MAX_REFERENCES:
        return name
    global _demangler
    if _demangler is None:
        _demangler = _load()
    plain = _demangler(mangled)
    if plain is None:
        return name
    bare = _RUST_HASH.sub("", plain)
    if bare != plain:
        plain = _tidy_rust(bare)
    return f"{plain} [clone {suffix}]" if suffix else plain


def without_version(name: str) -> str:
    """A symbol's name without its version: ``memcpy`` of ``memcpy@@GLIBC_2.14``."""
    return _VERSION.sub("", name)


def _tidy_rust(name: str) -> str:
    def replaced(found: re.Match[str]) -> str:
        text, escape = found[0], found[1]
        if text == "..":
            return "::"
        if escape in _RUST_CHARS:
            return _RUST_CHARS[escape]
        code = int(escape[1:], 16)
        return chr(code) if 0x20 <= code < 0x110000 and not 0xD800 <= code < 0xE000 else text

    # A part that would start with an escape has an underscore put before it.
    parts = [part[1:] if part.startswith("_$") else part for part in name.split("::")]
    return "::".join(_RUST_ESCAPE.sub(replaced, part) for part in parts)


def _load() -> Callable[[str], str | None]:
    import ctypes

    for library in ("libstdc++.so.6", "libc++abi.so.1"):
        try:
            return _bound(ctypes.CDLL(library))
        except (OSError, AttributeError):
            continue
    return _unavailable


def _bound(library: ctypes.CDLL) -> Callable[[str], str | None]:
    import ctypes

    call = library.__cxa_demangle
    free = ctypes.CDLL(None).free
    call.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
    call.restype = ctypes.c_void_p
    free.argtypes = [ctypes.c_void_p]
    free.restype = None

    def run(name: str) -> str | None:
        status = ctypes.c_int(0)
        result = call(name.encode("utf-8", "surrogateescape"), None, None, ctypes.byref(status))
        if not result:
            return None
        try:
            plain = ctypes.string_at(result).decode("utf-8", "backslashreplace")
        finally:
            free(result)
        return plain if status.value == 0 else None

    return run


def _unavailable(name: str) -> str | None:
    del name
    return None
