"""Loads on address spaces: shootdowns, faults, forks, page tables."""
