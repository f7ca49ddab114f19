"""The project's optimizers, one a file; a new one is a further file here and nothing else."""
