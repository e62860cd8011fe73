# ruff: noqa: D103 - the functions are named after rows of the table of operations, which docs/ir.md explains
"""CO-RE accesses, kernel symbols, configuration values, packet pointers of the context."""

from __future__ import annotations

from osmia.compiler.evaluate.faults import Fault, malformed
from osmia.compiler.evaluate.frame import int_type, result_type
from osmia.compiler.evaluate.memory import NULL, ORDER, Pointer, locate
from osmia.compiler.evaluate.values import convert, signed, wrap
from osmia.compiler.ir import Space

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.compiler.evaluate.core import Place
    from osmia.compiler.evaluate.frame import Frame
    from osmia.compiler.ir import Op


def _place(frame: Frame, op: Op) -> Place:
    found = frame.run.machine.types.field(op.attrs["base"], op.attrs["steps"])
    if found is None:
        path = "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name, _ in op.attrs["steps"])
        raise Fault("IR351", f"this kernel has no {op.attrs['base']}{path}", "test it with core.field_exists first")
    return found


def eval_core_field(frame: Frame, op: Op) -> Pointer:
    return frame.pointer(op.args[0]).moved(_place(frame, op).bit // 8)


def eval_core_bitfield(frame: Frame, op: Op) -> int:
    source = op.args[0]
    space = frame.pointer_type(source).space
    place, type_ = _place(frame, op), int_type(op)
    start = place.bit // 8
    size = (place.bit % 8 + place.bits + 7) // 8
    pointer = frame.pointer(source).moved(start)
    if space in (Space.KERNEL, Space.USER, Space.BTF):
        data = frame.run.probe(pointer, size, space is Space.USER) or bytes(size)
    else:
        memory, at = locate(pointer, size, False, space)
        data = bytes(memory[at : at + size])
    shift = place.bit % 8 if ORDER == "little" else 8 * size - place.bit % 8 - place.bits
    value = int.from_bytes(data, ORDER) >> shift & ((1 << place.bits) - 1)
    return wrap(signed(value, place.bits) if type_.signed else value, type_)


def eval_core_info(frame: Frame, op: Op) -> Any:
    types = frame.run.machine.types
    base = op.attrs["base"]
    what = op.name.partition(".")[2]
    value: int | bool | None
    if what == "field_exists":
        value = types.field(base, op.attrs["steps"]) is not None
    elif what == "field_size":
        value = _place(frame, op).unit()[1]
    elif what == "field_offset":
        value = _place(frame, op).unit()[0]
    elif what == "type_exists":
        value = types.size(base) is not None
    elif what == "type_size":
        value = types.size(base)
    else:
        value = types.enumerator(base, op.attrs["enumerator"])
        if what == "enum_exists":
            value = value is not None
        elif value is None:
            raise Fault(
                "IR351", f"this kernel has no {op.attrs['enumerator']} in {base}", "test it with core.enum_exists first"
            )
    if value is None:
        # libbpf and the kernel's loader give the size of a missing type as 0.
        value = 0
    return convert(int(value), result_type(op), frame.run.machine.kernel)


def eval_ksym_addr(frame: Frame, op: Op) -> Pointer:
    name = op.attrs["name"]
    found = frame.run.machine.ksyms.get(name)
    if found is None:
        if op.attrs.get("weak"):
            return NULL
        raise Fault("IR348", f"the kernel symbol {name} is not there", "give its address: Evaluator(ksyms={...})")
    return Pointer(None, found)


def eval_kconfig(frame: Frame, op: Op) -> Any:
    name = op.attrs["name"]
    if name not in frame.run.machine.kconfig:
        raise Fault("IR348", f"there is no value of {name}", "give it: Evaluator(kconfig={...})")
    return convert(frame.run.machine.kconfig[name], result_type(op), frame.run.machine.kernel)


def eval_ctx_packet(frame: Frame, op: Op) -> Pointer:
    context = frame.context(op)
    if context.region is not None and context.region.dead:
        raise Fault("IR343", f"the context is gone: {context.region.dead}")
    run = frame.run
    if run.packet is None:
        raise Fault("IR349", "the program asks for its packet, and there is none", "give one: run(packet=...)")
    places = {"data": run.packet_start, "data_end": len(run.packet.data), "data_meta": run.packet_meta}
    name = op.attrs["name"]
    if name not in places:
        raise malformed(f"ctx.packet asks for {name}; packet pointers are {', '.join(places)}")
    return Pointer(run.packet, places[name])
