"""Parts of any kind: registries, the user's own files, and what of them decides a run's results."""
