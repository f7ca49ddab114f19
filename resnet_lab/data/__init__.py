"""Datasets, their splits, and batches that are a pure function of seed and step."""
