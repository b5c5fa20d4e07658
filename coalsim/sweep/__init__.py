"""Many configurations of one study: its axes, its points, and running them."""
