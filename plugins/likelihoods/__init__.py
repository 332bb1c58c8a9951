"""Likelihoods: what a VAE's generator means by its numbers."""
