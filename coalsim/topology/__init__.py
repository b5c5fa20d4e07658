"""Machines: where CPUs and memory are, and what it costs to reach across.  Pure data, no simulation."""
