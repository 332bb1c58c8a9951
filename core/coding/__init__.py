"""Coding: what a model says of observations as a file whose size is the bound on their likelihood."""
