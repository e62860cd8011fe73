"""The version, in one place."""

VERSION = "0.1.0"
"""The package's version; ``pyproject.toml`` reads it from here."""
