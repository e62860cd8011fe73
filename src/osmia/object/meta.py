"""Osmia's own notes in an object: what ELF, BTF and libbpf's conventions have no words for.

The section ``.osmia`` holds JSON: event schemas with display columns, hooks with their options, roles and layouts of
maps, extras of the front end. It is a string table with one string to other tools, which libbpf passes over in silence.
Layouts are written as :meth:`~osmia.object.layout.Layout.plain`; bytes, tuples and dictionaries with other keys than
text are tagged.
"""

from __future__ import annotations

from osmia.diagnostics.errors import ObjectError
from osmia.object.layout import Array, Bool, Bytes, Char, Enum, Field, Int, Layout, Struct
from osmia.object.sections import parse_section
from osmia.object.spec import EventSchema, Hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from osmia.object.spec import CollectionSpec, GlobalVar, MapSpec, ProgramSpec

META_SECTION = ".osmia"
FORMAT = 1
_MAX_SIZE = 1 << 30
_BYTES, _TUPLE, _DICT = "$bytes", "$tuple", "$dict"


# -- from specs to notes -----------------------------------------------------------------------------------------------


def make_meta(
    *,
    maps: Iterable[MapSpec] = (),
    events: Iterable[EventSchema] = (),
    hooks: dict[str, Hook] | None = None,
    global_vars: Iterable[GlobalVar] = (),
    extras: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The notes about some specs, for :func:`encode_meta` and ``osmia.object.writer.attach_meta``.

    :param hooks: by program name. :param extras: as :attr:`~osmia.object.spec.CollectionSpec.extras`.
    """
    return {
        "format": FORMAT,
        "maps": {made.name: notes for made in maps if (notes := _map_notes(made))},
        "events": [(e.name, e.map_name, e.layout.plain(), dict(e.columns)) for e in events],
        "programs": {name: {"hook": _hook_notes(hook)} for name, hook in (hooks or {}).items()},
        "globals": {var.name: var.layout.plain() for var in global_vars},
        "extras": dict(extras or {}),
    }


def meta_of(spec: CollectionSpec) -> dict[str, Any]:
    """The notes about a whole collection, complete: with them, reading what was written gives an equal one."""
    meta = make_meta(
        maps=spec.maps.values(),
        events=spec.events.values(),
        global_vars=spec.global_vars.values(),
        extras=spec.extras,
    )
    meta["programs"] = {name: notes for name, made in spec.programs.items() if (notes := _program_notes(made))}
    return meta


def _hook_notes(hook: Hook) -> tuple[str, str, dict[str, Any]]:
    return (hook.kind, hook.target, dict(hook.options))


def _program_notes(made: ProgramSpec) -> dict[str, Any]:
    meaning = parse_section(made.section)
    notes: dict[str, Any] = {}
    if _hook_notes(meaning.hook) != _hook_notes(made.hook):
        notes["hook"] = _hook_notes(made.hook)
    for name in ("prog_type", "attach_type", "flags"):
        if getattr(meaning, name) != getattr(made, name):
            notes[name] = getattr(made, name)
    return notes


def _map_notes(made: MapSpec) -> dict[str, Any]:
    notes: dict[str, Any] = {}
    if made.role:
        notes["role"] = made.role
    if made.pin:
        notes["pin"] = made.pin
    for name in ("key", "value"):
        layout = getattr(made, name)
        if layout is not None and not (made.section and name == "key"):
            notes[name] = layout.plain()
    if not made.section:
        if made.contents:
            notes["contents"] = [tuple(entry) for entry in made.contents]
        if made.frozen:
            notes["frozen"] = True
    if made.inner is not None and (inner := _map_notes(made.inner)):
        notes["inner"] = inner
    return notes


def encode_meta(meta: dict[str, Any]) -> bytes:
    """The contents of the ``.osmia`` section.

    :raises ObjectError: OBJ021, a value that the notes cannot hold.
    """
    import json

    try:
        text = json.dumps(_tagged(meta), separators=(",", ":"), sort_keys=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ObjectError("OBJ021", f"the notes hold something that cannot be written: {error}") from None
    return b"\0" + text.encode("ascii") + b"\0"


def _tagged(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, float)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (bytes, bytearray)):
        return {_BYTES: bytes(value).hex()}
    if isinstance(value, tuple):
        return {_TUPLE: [_tagged(item) for item in value]}
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _tagged(item) for key, item in value.items()}
        return {_DICT: [[_tagged(key), _tagged(item)] for key, item in value.items()]}
    raise TypeError(f"{type(value).__name__} {value!r}")


# -- from notes to specs -----------------------------------------------------------------------------------------------


def decode_meta(data: bytes) -> dict[str, Any]:
    """The notes in the contents of an ``.osmia`` section.

    :raises ObjectError: OBJ022, they are damaged or of a format that this Osmia does not know.
    """
    import json

    try:
        meta = _untagged(json.loads(data.strip(b"\0").decode()))
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(f"they are no JSON of the expected form ({error})") from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        found = meta.get("format") if isinstance(meta, dict) else None
        raise ObjectError(
            "OBJ022",
            f"section {META_SECTION} is of format {found!r}; known is {FORMAT}",
            hint="the object was built by another release of Osmia; build it again",
        )
    return meta


def _untagged(value: Any) -> Any:
    if isinstance(value, list):
        return [_untagged(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (tag, inner), *_ = value.items()
        if tag == _BYTES:
            return bytes.fromhex(inner)
        if tag == _TUPLE:
            return tuple([_untagged(item) for item in inner])
        if tag == _DICT:
            return {_untagged(key): _untagged(item) for key, item in inner}
    return {key: _untagged(item) for key, item in value.items()}


def apply_meta(spec: CollectionSpec, meta: dict[str, Any]) -> None:
    """Complete a collection with its notes.

    :raises ObjectError: OBJ022, notes that are malformed or do not fit the collection.
    """
    try:
        for name, notes in dict(meta.get("maps", {})).items():
            _apply_map(_known(spec.maps, name, "map"), notes)
        for name, notes in dict(meta.get("programs", {})).items():
            _apply_program(_known(spec.programs, name, "program"), notes)
        for name, plain in dict(meta.get("globals", {})).items():
            _apply_global(spec, name, plain)
        for name, map_name, plain, columns in meta.get("events", ()):
            layout = layout_from_plain(plain)
            _known(spec.maps, map_name, "map")
            if not isinstance(layout, Struct):
                raise _damaged(f"event {name!r} is no struct")
            shown = {_text(field): _text(form) for field, form in dict(columns).items()}
            spec.events[map_name] = EventSchema(_text(name), map_name, layout, shown)
        spec.extras.update({_text(key): value for key, value in dict(meta.get("extras", {})).items()})
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _damaged(str(error)) from None


def _apply_map(made: MapSpec, notes: dict[str, Any]) -> None:
    if "role" in notes:
        made.role = _text(notes["role"])
    if "pin" in notes:
        made.pin = _text(notes["pin"])
    for name in ("key", "value"):
        if name in notes:
            layout = layout_from_plain(notes[name])
            if layout.size != getattr(made, f"{name}_size"):
                raise _damaged(
                    f"the {name} of map {made.name!r} has {layout.size} bytes in the notes, and "
                    f"{getattr(made, f'{name}_size')} in the map"
                )
            setattr(made, name, layout)
    if "contents" in notes:
        made.contents = [_entry(key, value) for key, value in notes["contents"]]
    if "frozen" in notes:
        made.frozen = bool(notes["frozen"])
    if "inner" in notes:
        if made.inner is None:
            raise _damaged(f"map {made.name!r} holds no maps")
        _apply_map(made.inner, notes["inner"])


def _entry(key: Any, value: Any) -> tuple[bytes, bytes | str]:
    if not isinstance(key, bytes) or not isinstance(value, (bytes, str)):
        raise _damaged(f"{key!r}: {value!r} is no entry of a map")
    return key, value


def _apply_program(made: ProgramSpec, notes: dict[str, Any]) -> None:
    if "hook" in notes:
        kind, target, options = notes["hook"]
        made.hook = Hook(_text(kind), _text(target), {_text(key): value for key, value in dict(options).items()})
    for name in ("prog_type", "attach_type", "flags"):
        if name in notes:
            setattr(made, name, _number(notes[name], 1 << 32))


def _apply_global(spec: CollectionSpec, name: str, plain: Any) -> None:
    var = _known(spec.global_vars, name, "variable")
    layout = layout_from_plain(plain)
    if layout.size != var.layout.size:
        raise _damaged(f"variable {name!r} has {layout.size} bytes in the notes, and {var.layout.size} in the file")
    var.layout = layout


def layout_from_plain(plain: Any) -> Layout:
    """The layout that :meth:`~osmia.object.layout.Layout.plain` described, with every number checked.

    :raises ObjectError: OBJ022, on anything else. Other than ``layout.from_plain`` this takes what anybody wrote.
    """
    if not isinstance(plain, (list, tuple)) or not plain:
        raise _damaged(f"{plain!r} is no layout")
    kind, *rest = plain
    if kind == "int" and len(rest) == 2 and rest[0] in (8, 16, 32, 64):
        return Int(_number(rest[0], 65), bool(rest[1]))
    if kind == "bool" and not rest:
        return Bool()
    if kind in ("char", "bytes") and len(rest) == 1:
        return (Char if kind == "char" else Bytes)(_number(rest[0], _MAX_SIZE))
    if kind == "array" and len(rest) == 2:
        element, count = layout_from_plain(rest[0]), _number(rest[1], _MAX_SIZE)
        if element.size * count < _MAX_SIZE:
            return Array(element, count)
    if kind == "enum" and len(rest) == 3:
        base = layout_from_plain(rest[1])
        if isinstance(base, Int):
            low, high = base.range()
            return Enum(_text(rest[0]), base, [(_text(name), _number(n, high + 1, low)) for name, n in rest[2]])
    if kind == "struct" and len(rest) == 4:
        return _struct_from_plain(*rest)
    raise _damaged(f"{plain!r} is no layout")


def _struct_from_plain(name: Any, members: Any, size: Any, align: Any) -> Struct:
    size = _number(size, _MAX_SIZE)
    fields = []
    for field, plain, offset, bit, bits in members:
        layout = layout_from_plain(plain)
        made = Field(_text(field), layout, _number(offset, size + 1), _number(bit, 64), _number(bits, 65))
        end = made.offset * 8 + (made.bit + made.bits if made.bits else layout.size * 8)
        if end > size * 8 or made.bit + made.bits > layout.size * 8:
            raise _damaged(f"field {field!r} lies outside of struct {name!r}")
        fields.append(made)
    return Struct(_text(name), fields, size, _number(align, 1 << 16, 1))


def _number(value: Any, end: int, start: int = 0) -> int:
    if not isinstance(value, int) or not start <= value < end:
        raise _damaged(f"{value!r} is no number from {start} to {end - 1}")
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _damaged(f"{value!r} is no text")
    return value


def _known(table: dict[str, Any], name: Any, what: str) -> Any:
    found = table.get(name) if isinstance(name, str) else None
    if found is None:
        raise _damaged(f"they are about {what} {name!r}, which the file does not have")
    return found


def _damaged(cause: str) -> ObjectError:
    return ObjectError(
        "OBJ022", f"the notes in section {META_SECTION} are damaged: {cause}", hint="build the object again"
    )
