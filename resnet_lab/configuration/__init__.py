"""The validated configuration of a run, and its identity. Needs no torch."""
