"""Address spaces: their areas, faults, and the calls that map and unmap."""
