"""Watching kernel objects: leaks, red zones, injected failures."""
