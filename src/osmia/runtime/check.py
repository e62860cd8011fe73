"""Compile and load without attaching."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def check_target(target: str, load: bool = True) -> list[dict[str, Any]]:
    """One row per program of a tool, program file or object file.

    :raises OsmiaError: why it does not compile or load.
    """
    from osmia.runtime.pipeline import compile_spec, fit, read_file
    from osmia.runtime.programs import find_program

    if target.endswith(".o"):
        spec = read_file(target)
    else:
        program = find_program(target)
        program.resolve_names()
        spec = compile_spec(program)
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "hook": f"{row.hook.kind} {row.hook.target}".strip(),
            "section": row.section,
            "instructions": len(row.insns) // 8,
        }
        for name, row in spec.programs.items()
    ]
    if not load:
        return rows
    from osmia.kernel.load import load as load_collection

    with load_collection(fit(spec)) as loaded:
        for row in rows:
            info = loaded.programs[row["name"]].info()
            row["verified"] = info.verified_insns
            row["jited"] = info.jited_size
    return rows
