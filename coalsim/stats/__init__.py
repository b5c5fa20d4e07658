"""Statistics of simulated runs: intervals, warm-up cut, batches, stopping, effects, rankings.

Pure functions of lists of numbers: nothing here knows what a run is.  Means and variances
are formed from exact fractions, so no answer depends on the order in which runs came in.
"""
