"""What metrics see data through: feature extractors."""
