"""Regularizers for any adversarial loss, one file each."""
