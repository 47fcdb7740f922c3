"""What is known of a model: its card, where it comes from, and what its file says."""
