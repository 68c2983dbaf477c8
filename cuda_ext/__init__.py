"""Fused kernels: schema and readable torch reference in Python, one library per device."""
