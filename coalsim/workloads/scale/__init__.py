"""The testcases of will-it-scale, one file each; beside them what several share."""
