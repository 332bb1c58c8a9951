"""Priors over codes: one file each, registered where it stands."""
