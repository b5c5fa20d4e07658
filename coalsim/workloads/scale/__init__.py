"""The testcases of will-it-scale, one file each."""
