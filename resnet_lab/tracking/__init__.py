"""Weights & Biases as a mirror of run directories, in both directions."""
