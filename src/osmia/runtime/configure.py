"""Settings of a run, as load options: constants, and which programs take part.

Constants live in ``.rodata``, which the kernel freezes; its verifier then removes the branches that a run does not
need.
"""

from __future__ import annotations

from osmia.diagnostics import RunError, UsageError
from osmia.runtime import filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.kernel.load import LoadOptions
    from osmia.lang.program import ProgramDecl
    from osmia.object.spec import CollectionSpec
    from osmia.runtime.options import RunOptions


def configure(spec: CollectionSpec, options: RunOptions, program: ProgramDecl | None = None) -> LoadOptions:
    """How to load the collection for a run; hooks without a target get theirs in place.

    :raises RunError: RUN032 when a filter is asked for that no program of the collection applies.
    :raises UsageError: RUN033 for an option that the program does not have, RUN034 for a missing interface.
    """
    from osmia.kernel.load import LoadOptions

    constants: dict[str, Any] = {}
    _filter(spec, options, constants)
    _own_settings(spec, options, program, constants)
    for variable in program.variables if program is not None else ():
        if variable.initial is not None and variable.name in spec.global_vars:
            constants[variable.name] = variable.initial
    # The kernel allocates a hash map whole: the map of followed processes is small where nothing is followed.
    unused = {filters.TREE_MAP: 1} if filters.TREE_MAP in spec.maps and not options.command else {}
    return LoadOptions(programs=_hooks(spec, options), constants=constants, entries=unused)


def _filter(spec: CollectionSpec, options: RunOptions, constants: dict[str, Any]) -> None:
    fields = filters.settings(options)
    if filters.VARIABLE in spec.global_vars:
        constants[filters.VARIABLE] = fields
        return
    asked = [name for name in ("pid", "tid", "cgroup", "comm") if getattr(options, name)]
    if asked:
        raise RunError(
            "RUN032",
            f"this program has no process filter, so --{asked[0]} cannot apply",
            hint="its hooks are not about processes; run it without",
        )


def _own_settings(
    spec: CollectionSpec, options: RunOptions, program: ProgramDecl | None, constants: dict[str, Any]
) -> None:
    if program is None:
        return
    known = {option.name: option for option in program.options}
    for name, value in options.settings.items():
        if name not in known:
            hint = f"it has: {', '.join(known)}" if known else "it has none"
            raise UsageError("RUN033", f"program {program.name} has no option {name!r}", hint=hint)
        known[name].value = value
    for name, option in known.items():
        variable = filters.OPTION_PREFIX + name
        if variable in spec.global_vars:
            constants[variable] = option.value


def _hooks(spec: CollectionSpec, options: RunOptions) -> list[str]:
    chosen = []
    for name, program in spec.programs.items():
        hook = program.hook
        if hook.options.get("when") == "tree" and not options.command:
            continue
        if hook.kind in ("xdp", "tc") and not hook.target and options.attach:
            if not options.interface:
                raise UsageError(
                    "RUN034", f"{name} attaches to a network interface", hint="name it: --interface eth0 (see ip link)"
                )
            hook.target = options.interface
        elif hook.kind == "profile" and options.hz:
            hook.options = {**hook.options, "hz": options.hz, "period_ns": 0}
        chosen.append(name)
    return chosen
