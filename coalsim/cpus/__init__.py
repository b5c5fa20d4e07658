"""Processors: run queues, interrupts, cache lines and bandwidth.

A `Cpu` is a SimPy process that runs threads; `coherence` prices hot cache lines,
`bandwidth` memory traffic, `ipi` how requests reach other processors, and
`deadlock` finds processors that wait for each other.
"""
