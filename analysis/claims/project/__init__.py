"""The project's claims: a `Claim` or two a file, found by being there."""
