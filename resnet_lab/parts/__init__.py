"""Parts of any kind: registries, users' parts files, and hashes of what changes results."""
