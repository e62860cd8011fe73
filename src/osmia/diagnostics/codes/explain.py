"""Rows of ``osmia explain`` itself."""

from __future__ import annotations

from osmia.diagnostics.codes import Code

ROWS = (
    Code(
        "CLI090",
        "there is no such error code",
        """
## Meaning
`osmia explain` was asked for a code that no error of this version has.

## Why
Each code names one kind of error for good. A page about some other error would mislead, so an unknown
code is refused, and the codes nearest to it are named.

## Example
```
$ osmia explain SYM999
error[CLI090]: there is no error code 'SYM999'
```

## Repair
Copy the code from the brackets of the error's first line: `error[SYM003]` is explained by
`osmia explain SYM003`. `osmia explain` without a code lists them all. A code of a newer version is known
only to that version.
""",
    ),
)
