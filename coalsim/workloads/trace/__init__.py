"""Recorded kernel traces: from text of `perf script`, ftrace or trace-cmd to records.

Reading order: `records` (what comes out), `events` (names and kinds), `fields` (bodies of lines),
`scanner` (the loop that both formats share), `perf` and `ftrace` (their headers), `reader`
(opening, recognising, refusing), `tally` (what was counted), `lifetimes` (what was freed and what
was not), `snapshot` (the state of the machine around the recording).

Nothing here simulates: records say what a real kernel did, on which CPU and when.
"""
