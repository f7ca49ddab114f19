"""Analysis of runs: statistics, claims, figures, tables and the report.

Nothing here imports torch. The input of everything in this package is the three pandas frames
that `resnet_lab.runs.frames.load_runs` returns.
"""
