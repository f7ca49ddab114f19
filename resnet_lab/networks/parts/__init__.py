"""The parts that come with the laboratory, one file each or one a family of the papers."""
