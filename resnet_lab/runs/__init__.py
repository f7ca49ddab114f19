"""Run directories: written by training, read by analysis, without torch."""
