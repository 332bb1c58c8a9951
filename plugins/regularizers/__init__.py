"""Regularizers for any adversarial loss."""
