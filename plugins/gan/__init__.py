"""Adversarial objectives and their recipes: one file each, registered where it stands."""
