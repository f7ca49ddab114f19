"""Run directories: written by training, read by analysis, understood without torch."""
