"""Posterior families: one file each, registered where it stands."""
