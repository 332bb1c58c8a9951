"""Likelihoods: what a VAE's generator means by its numbers. One file each, registered where it stands."""
