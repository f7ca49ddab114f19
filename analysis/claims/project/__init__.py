"""The project's claims: one or two `Claim`s a file, discovered automatically."""
