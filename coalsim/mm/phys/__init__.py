"""Page frames: who holds which, in plain structures that know neither time nor locks."""
