"""Data layouts, program and map specs, ELF objects, CO-RE relocation."""
