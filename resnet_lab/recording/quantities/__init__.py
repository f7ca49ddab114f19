"""The quantities that come with the laboratory: a file each, or one for what belongs together."""
