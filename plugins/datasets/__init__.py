"""Data sets: Fashion-MNIST, whole and small, digits, emoji, toy densities in the plane, and a user's own files."""
