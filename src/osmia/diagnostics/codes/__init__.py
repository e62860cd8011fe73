"""The table of error codes: one module per area, one row per code.

An area's module defines ``ROWS``, a tuple of :class:`Code`. ``osmia explain CODE`` prints a row's page;
the reference page of errors is generated from the rows. Nothing on a hot path imports this package.

A page is Markdown with exactly these four sections, in this order (``tests/diagnostics`` checks it)::

    ## Meaning
    What the error says about the input, in a few sentences.

    ## Why
    Why the rule exists: what would go wrong otherwise.

    ## Example
    Something short that gives this error; code in a fenced block.

    ## Repair
    What to change, with the repaired example where it helps.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import NamedTuple


class Code(NamedTuple):
    """One error code.

    :ivar code: the stable name, an area's letters and a number (``BTF003``).
    :ivar title: what is wrong in general, one line.
    :ivar page: the explanation in Markdown: what it means, why the rule exists, an example, the repair.
    """

    code: str
    title: str
    page: str


def all_codes() -> dict[str, Code]:
    """Every code of every area, by name, in the order of areas and rows."""
    found: dict[str, Code] = {}
    for module_info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        for row in module.ROWS:
            if row.code in found:
                raise ValueError(f"error code {row.code} has two rows")
            found[row.code] = row
    return found
