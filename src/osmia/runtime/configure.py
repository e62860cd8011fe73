"""Settings of a run, written into the collection's constants before anything loads.

Constants live in ``.rodata``, which the kernel freezes; its verifier then removes the branches that a run does not need.
"""

from __future__ import annotations

from osmia.diagnostics import RunError, UsageError
from osmia.runtime import filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.lang.program import ProgramDecl
    from osmia.object.spec import CollectionSpec
    from osmia.runtime.options import RunOptions


def configure(spec: CollectionSpec, options: RunOptions, program: ProgramDecl | None = None) -> None:
    """Changes the spec in place: filter, options, variables' initial values, and which programs take part.

    :raises RunError: RUN032 when a filter is asked for that no program of the collection applies.
    """
    _filter(spec, options)
    _own_settings(spec, options, program)
    _variables(spec, program)
    _hooks(spec, options)


def set_global(spec: CollectionSpec, name: str, value: Any) -> None:
    """Writes a global variable's initial value into its section's contents.

    :raises UsageError: RUN033, there is no such variable or the value does not fit it.
    """
    var = spec.global_vars.get(name)
    if var is None:
        raise UsageError("RUN033", f"the program has no variable {name!r}")
    section = spec.maps[var.map_name]
    key, data = section.contents[0] if section.contents else (bytes(4), bytes(section.value_size))
    if isinstance(data, str):
        raise UsageError("RUN033", f"{var.map_name} is no data section")
    try:
        packed = var.layout.pack(value)
    except (TypeError, ValueError) as error:
        raise UsageError("RUN033", f"{name}: {error}") from None
    section.contents = [(key, data[: var.offset] + packed + data[var.offset + len(packed) :])]


def _filter(spec: CollectionSpec, options: RunOptions) -> None:
    fields = filters.settings(options)
    if filters.VARIABLE in spec.global_vars:
        set_global(spec, filters.VARIABLE, fields)
        return
    asked = [name for name in ("pid", "tid", "cgroup", "comm", "command") if getattr(options, name)]
    if asked:
        raise RunError(
            "RUN032",
            f"this program has no process filter, so --{asked[0]} cannot apply",
            hint="its hooks are not about processes; run it without",
        )


def _own_settings(spec: CollectionSpec, options: RunOptions, program: ProgramDecl | None) -> None:
    if program is None:
        return
    known = {option.name: option for option in program.options}
    for name, value in options.settings.items():
        if name not in known:
            raise UsageError(
                "RUN033", f"program {program.name} has no option {name!r}", hint=f"it has: {', '.join(known)}"
            )
        known[name].value = value
    for name, option in known.items():
        variable = filters.OPTION_PREFIX + name
        if variable in spec.global_vars:
            set_global(spec, variable, option.value)


def _variables(spec: CollectionSpec, program: ProgramDecl | None) -> None:
    for variable in program.variables if program is not None else ():
        if variable.initial is not None and variable.name in spec.global_vars:
            set_global(spec, variable.name, variable.initial)


def _hooks(spec: CollectionSpec, options: RunOptions) -> None:
    for name, program in list(spec.programs.items()):
        hook = program.hook
        if hook.options.get("when") == "tree" and not options.command:
            del spec.programs[name]
        elif hook.kind in ("xdp", "tc") and not hook.target and options.attach:
            if not options.interface:
                raise UsageError(
                    "RUN034", f"{name} attaches to a network interface", hint="name it: --interface eth0 (see ip link)"
                )
            hook.target = options.interface
        elif hook.kind == "profile" and options.hz:
            hook.options = {**hook.options, "hz": options.hz, "period_ns": 0}
