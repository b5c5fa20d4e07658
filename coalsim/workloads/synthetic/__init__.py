"""Synthetic loads: one file per load, each a frozen description and one loop per thread."""
