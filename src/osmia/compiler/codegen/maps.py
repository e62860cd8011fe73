"""Map definitions in BTF form, as libbpf and our own reader want them in the ``.maps`` section."""

from __future__ import annotations

from osmia.compiler.codegen.debug import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.codegen.module import ModuleLowering
    from osmia.object.spec import MapSpec

PIN_BY_NAME = 1


class MapWriter:
    """Writes the maps of a module."""

    def __init__(self, module: ModuleLowering) -> None:
        self.module = module
        self.metadata = module.metadata

    def lines(self) -> list[str]:
        """Definitions of all maps that are no data section's."""
        return [self._map(spec) for spec in self.module.module.maps.values() if not spec.section]

    def _map(self, spec: MapSpec) -> str:
        members, initial = self.members(spec)
        rows: list[tuple[str, str, int, int]] = []
        offset = 0
        for name, node in members:
            width = 0 if name == "values" else 8
            rows.append((name, node, offset * 8, width * 8))
            offset += width
        node = self.metadata.struct("", offset, rows)
        debug = self.module.debug_variable(spec.name, node)
        symbol = self.module.map_symbol(spec.name)
        self.module.use(symbol)
        head = "{ " + f"[{offset} x i8]"
        value = "zeroinitializer"
        if initial:
            head += f", [{len(initial)} x ptr]"
            slots = ", ".join(f"ptr {entry}" for entry in initial)
            value = f"{{ [{offset} x i8] zeroinitializer, [{len(initial)} x ptr] [{slots}] }}"
        return f'{symbol} = dso_local global {head} }} {value}, section ".maps", align 8, !dbg {debug}'

    def members(self, spec: MapSpec, inner: bool = False) -> tuple[list[tuple[str, str]], list[str]]:
        """Names and types of the definition's members, and what its ``values`` hold."""
        from osmia.abi.map_types import TABLE

        row = TABLE.get(spec.kind)
        number = self.metadata.number
        out = [("type", number(row.number))]
        # The kernel takes no types for program arrays.
        plain = spec.kind == "prog_array"
        if spec.key is not None and row.key != (0, 0, 1) and not plain:
            out.append(("key", self.metadata.pointer(self.metadata.layout(spec.key))))
        elif spec.key_size and row.key != (0, 0, 1):
            out.append(("key_size", number(spec.key_size)))
        if row.value != (0, 0, 1):
            if spec.value is not None and not row.inner and spec.kind != "prog_array":
                out.append(("value", self.metadata.pointer(self.metadata.layout(spec.value))))
            elif spec.value_size or row.inner or spec.kind == "prog_array":
                out.append(("value_size", number(spec.value_size or 4)))
        for name, value in (
            ("max_entries", spec.max_entries), ("map_flags", spec.flags), ("map_extra", spec.extra),
            ("numa_node", spec.numa_node),
        ):  # fmt: skip
            if value:
                out.append((name, number(value)))
        if spec.pin and not inner:
            out.append(("pinning", number(PIN_BY_NAME)))
        initial = self._values(spec, out, row.inner)
        return out, initial

    def _values(self, spec: MapSpec, out: list[tuple[str, str]], of_maps: bool) -> list[str]:
        metadata = self.metadata
        if of_maps and spec.inner is not None:
            rows: list[tuple[str, str, int, int]] = []
            for index, (name, node) in enumerate(self.members(spec.inner, True)[0]):
                rows.append((name, node, index * 64, 64))
            target = metadata.struct("", len(rows) * 8, rows)
        elif spec.kind == "prog_array" and any(isinstance(value, str) for _, value in spec.contents):
            signature = metadata.add(f"!DISubroutineType(types: {metadata.listed(['null'])})")
            target = signature
        else:
            return []
        out.append(("values", metadata.array(metadata.pointer(target), 0, 8)))
        entries: dict[int, str] = {}
        for key, value in spec.contents:
            if isinstance(value, str):
                entries[int.from_bytes(key, "little")] = f'@"{escape(value)}"'
        if not entries:
            return []
        return [entries.get(index, "null") for index in range(max(entries) + 1)]
