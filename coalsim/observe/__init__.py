"""What comes out: histograms, the result document, and the tables a kernel person knows.

`document.py` is the one hinge: a run becomes a document, and everything printed is
made from a document alone, so a stored result prints exactly like a fresh one.
Nothing here imports workloads, and nothing here moves simulated time.
"""
