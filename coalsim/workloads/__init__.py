"""Loads for the simulated kernel: synthetic ones and replays of recorded traces."""
