"""The engine: simulated time, its order, and the processors' own clocks.

`clock` orders an instant and holds the barriers, `runahead` lets a processor's
clock run ahead of global time, `accounts` divides a processor's time by cause,
`streams` and `laws` draw random numbers, `probes` lets others listen.
"""
