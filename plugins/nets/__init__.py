"""Architectures that fit any objective: multilayer perceptrons and convolutional networks."""
