"""The pages behind ``osmia explain``, and the reference of all error codes."""

from __future__ import annotations

from osmia.diagnostics.errors import UsageError
from osmia.diagnostics.text import suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.diagnostics.codes import Code

AREAS = {
    "PY": "Program files in Python",
    "IR": "The compiler",
    "ISA": "Instructions",
    "ABI": "The kernel's contract",
    "BTF": "Type information (BTF)",
    "OBJ": "Objects and specs",
    "CORE": "CO-RE relocation",
    "SYM": "Symbols, binaries and stacks",
    "KRN": "System calls and loading",
    "MAP": "Maps",
    "HOOK": "Hooks and attaching",
    "RUN": "Sessions",
    "CACHE": "Caches",
    "CLI": "The command line",
}
SECTIONS = ("Meaning", "Why", "Example", "Repair")


def code_names() -> list[str]:
    """All codes, area by area in the order of :data:`AREAS`, then by number."""
    from osmia.diagnostics.codes import all_codes

    order = list(AREAS)
    return sorted(all_codes(), key=lambda name: (order.index(area_of(name)), name))


def area_of(code: str) -> str:
    """The area's letters of a code: ``BTF`` of ``BTF003``."""
    return code.rstrip("0123456789")


def explain(code: str, *, color: bool = False) -> str:
    """The page of a code, ready to print; case does not matter.

    :raises UsageError: there is no such code; the hint names the nearest ones.
    """
    row = _row(code)
    lines = [f"{row.code}: {row.title}", ""]
    fenced = False
    for line in row.page.strip("\n").split("\n"):
        if line.startswith("```"):
            fenced = not fenced
            continue
        if fenced:
            lines.append(f"    {line}".rstrip())
        elif line.startswith("#"):
            lines.append(line.lstrip("# ").upper())
        else:
            lines.append(line)
    if color:
        headings = {name.upper() for name in SECTIONS}
        lines = [f"\x1b[1m{line}\x1b[0m" if at == 0 or line in headings else line for at, line in enumerate(lines)]
    return "\n".join(lines) + "\n"


def code_list() -> str:
    """All codes with their titles, one a line, ready to print."""
    from osmia.diagnostics.codes import all_codes

    rows = all_codes()
    names = code_names()
    size = max((len(name) for name in names), default=0)
    return "".join(f"{name:<{size}}  {rows[name].title}\n" for name in names)


def markdown() -> str:
    """The reference of all error codes, as one Markdown document."""
    from osmia.diagnostics.codes import all_codes

    rows = all_codes()
    out = [
        "# Error codes",
        "",
        "Every error Osmia raises on purpose has a code. `osmia explain CODE` prints the page of one; this is all",
        "of them. The page is generated from the rows in `osmia.diagnostics.codes`.",
    ]
    area = ""
    for name in code_names():
        if area_of(name) != area:
            area = area_of(name)
            out += ["", f"## {area}: {AREAS[area]}"]
        out += ["", f"### {name}: {rows[name].title}", "", *_demoted(rows[name].page)]
    return "\n".join(out) + "\n"


def _demoted(page: str) -> list[str]:
    lines: list[str] = []
    fenced = False
    for line in page.strip("\n").split("\n"):
        if line.startswith("```"):
            fenced = not fenced
        lines.append(f"##{line}" if line.startswith("#") and not fenced else line)
    return lines


def _row(code: str) -> Code:
    from osmia.diagnostics.codes import all_codes

    rows = all_codes()
    wanted = code.strip().upper()
    # Both `PY101` and what the first line of an error shows, `error[PY101]`, are fine.
    wanted = wanted.removeprefix("ERROR").strip("[]: ")
    found = rows.get(wanted)
    if found is not None:
        return found
    near = suggest(wanted, rows)
    area = area_of(wanted)
    hint = f"near it: {', '.join(near)}" if near else "`osmia explain` without a code lists all of them"
    if not near and area in AREAS:
        same = [name for name in rows if area_of(name) == area]
        hint = f"codes of the area {area}: {', '.join(same)}" if same else hint
    raise UsageError("CLI090", f"there is no error code '{code}'", hint=hint)
