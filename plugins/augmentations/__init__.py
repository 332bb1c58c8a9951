"""Augmentations for any adversarial loss."""
