"""Timelines: what every CPU did when, recorded from a run and written for viewers.

Reading order: `facts` (what a timeline is made of), `track` (one CPU's time, laid out), `accounts`
(how a run is listened to without changing it), `recorder` (everything that is kept), `timeline`
(what a finished recording says), `formats` and the writers `chrome`, `perfetto`, `speedscope`,
`folded` and `text`.
"""
