"""Recording: quantities measured inside layers during training, and when."""
