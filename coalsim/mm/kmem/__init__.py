"""Kernel objects: slabs of equal objects and the per-CPU caches in front of them."""
