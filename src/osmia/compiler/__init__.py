"""Typed IR, its rules, and code generation through LLVM."""
