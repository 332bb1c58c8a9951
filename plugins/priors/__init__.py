"""Priors over codes, each registered where it stands."""
