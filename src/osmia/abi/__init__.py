"""The kernel's contract as rows: program, attach and map types, helpers, constants, versions."""
