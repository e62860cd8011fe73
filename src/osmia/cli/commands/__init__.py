"""The subcommands of ``osmia``, one module each with ``main(words) -> exit code``."""
