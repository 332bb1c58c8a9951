"""What metrics see data through: feature extractors, one file each, registered where it stands."""
