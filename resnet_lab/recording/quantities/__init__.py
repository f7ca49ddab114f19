"""The built-in quantities, one file per quantity or group of related ones."""
