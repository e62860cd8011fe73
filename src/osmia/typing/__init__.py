"""Support for static type checkers; imported by mypy only."""
