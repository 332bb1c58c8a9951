"""Posterior families, each registered where it stands."""
