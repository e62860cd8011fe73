"""Text for error messages, without loading what it takes before there is an error."""

from __future__ import annotations


def clean(text: str) -> str:
    """``text`` with control characters made visible; see :func:`osmia.diagnostics.text.clean`."""
    from osmia.diagnostics.text import clean as cleaned

    return cleaned(text)
