"""The one package that issues system calls."""
