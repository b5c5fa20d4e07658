"""Replay: a recorded trace becomes the work of simulated CPUs.

Reading order: `operations` (what one CPU does), `matching` (which free belongs to which
allocation), `feed` (from records to operations, chunk by chunk), `census` (which CPUs a trace
has), `placing` (where they run), `player` (the thread of one CPU), `recorded_start` (the fill of
the recorded machine), `report` (what comes out), `load` (all of it together).
"""
