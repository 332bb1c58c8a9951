"""Judges of samples: metrics, and extractors of the features that they rest on."""
