"""Augmentations for any adversarial loss, one file each."""
