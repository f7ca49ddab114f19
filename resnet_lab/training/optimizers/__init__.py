"""The project's optimizers, one per file; a new one needs only a new file here."""
