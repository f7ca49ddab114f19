"""The built-in parts, one file for each part or family of parts."""
