"""What follows from runs: statistics, claims, figures, tables and the report.

Nothing here imports torch. Training is met only through `resnet_lab.runs.frames.load_runs`,
whose three pandas frames are the input of everything in this package.
"""
