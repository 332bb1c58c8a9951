"""Variational objectives and their recipes, each registered where it stands."""
