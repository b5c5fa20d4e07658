"""Page tables: their shapes, their entries, trees of them in simulated frames, and copies of trees."""
