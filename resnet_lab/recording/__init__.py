"""What is measured inside the layers while a run trains, and when."""
