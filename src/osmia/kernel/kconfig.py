"""The kernel's build configuration, for programs that ask for ``CONFIG_*`` values."""

from __future__ import annotations

import os

from osmia.diagnostics.errors import RelocationError
from osmia.diagnostics.text import clean, did_you_mean
from osmia.kernel import release
from osmia.object.layout import Bool, Char, Enum, Int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from osmia.object.layout import Layout
    from osmia.object.spec import CollectionSpec

SECTION = ".kconfig"
_TRISTATE = {"n": 0, "y": 1, "m": 2}


def read() -> dict[str, str]:
    """All settings of the running kernel: ``y``, ``m``, numbers and texts in quotes.

    :raises RelocationError: KRN022 when neither ``/proc/config.gz`` nor a file in ``/boot`` has them.
    """
    name = os.uname().release
    for path in ("/proc/config.gz", f"/boot/config-{name}", f"/lib/modules/{name}/config"):
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            continue
        if data[:2] == b"\x1f\x8b":
            import gzip

            data = gzip.decompress(data)
        return parse(data.decode("utf-8", "replace"))
    raise RelocationError(
        "KRN022",
        "the kernel's configuration cannot be read",
        hint="the kernel needs CONFIG_IKCONFIG_PROC, or /boot the file config-" + name,
    )


def parse(text: str) -> dict[str, str]:
    """The settings of a ``.config`` text."""
    found = {}
    for line in text.splitlines():
        if line.startswith("CONFIG_"):
            name, equals, value = line.partition("=")
            if equals:
                found[name] = value.strip()
    return found


def values(spec: CollectionSpec, settings: Mapping[str, str] | None = None) -> bytes:
    """The bytes of the map that holds a collection's kernel settings.

    :param settings: instead of the running kernel's.
    :raises RelocationError: KRN022: a setting that the kernel does not have, or that does not fit its type.
    """
    data = bytearray(spec.maps[SECTION].value_size)
    weak: Container[str] = spec.extras.get("kconfig_weak", ())
    for variable in spec.global_vars.values():
        if variable.map_name != SECTION:
            continue
        if variable.name == "LINUX_KERNEL_VERSION":
            packed = variable.layout.pack(release.code())
        elif variable.name == "LINUX_HAS_BPF_COOKIE":
            packed = variable.layout.pack(release.has((5, 15)))
        elif variable.name == "LINUX_HAS_SYSCALL_WRAPPER":
            packed = variable.layout.pack(_has_syscall_wrapper())
        else:
            if settings is None:
                settings = read()
            packed = _packed(variable.name, variable.layout, settings, variable.name in weak)
        data[variable.offset : variable.offset + len(packed)] = packed
    return bytes(data)


def _packed(name: str, layout: Layout, settings: Mapping[str, str], weak: bool) -> bytes:
    text = settings.get(name)
    if text is None:
        if weak:
            return bytes(layout.size)
        raise RelocationError(
            "KRN022",
            f"this kernel is not configured with {clean(name)}",
            hint=did_you_mean(name, settings) or "declare it weak if the program can do without it",
        )
    try:
        if text in _TRISTATE:
            if isinstance(layout, Bool):
                if text == "m":
                    raise ValueError("it is m, which no bool can say")
                return layout.pack(text == "y")
            if isinstance(layout, Enum):
                return layout.pack(_TRISTATE[text])
            if layout.size == 1:
                return text.encode()
            raise ValueError(f"it is {text}, which needs a bool, a char or enum libbpf_tristate")
        if text.startswith('"'):
            if not isinstance(layout, Char) and layout.size < 2:
                raise ValueError("it is a text, which needs an array of char")
            content = text[1:-1].encode() if text.endswith('"') else text[1:].encode()
            return content[: layout.size - 1].ljust(layout.size, b"\0")
        if not isinstance(layout, Int):
            raise ValueError(f"it is {text}, which needs an integer")
        return layout.pack(int(text, 0))
    except ValueError as error:
        raise RelocationError("KRN022", f"the kernel setting {clean(name)} does not fit {layout}: {error}") from None


def _has_syscall_wrapper() -> bool:
    machine = os.uname().machine
    prefix = {"x86_64": "__x64_", "aarch64": "__arm64_", "s390x": "__s390x_", "riscv64": "__riscv_"}.get(machine)
    if prefix is None:
        return False
    try:
        with open("/proc/kallsyms", "rb") as file:
            return f" {prefix}sys_bpf\n".encode() in file.read()
    except OSError:
        return release.has((4, 17))
