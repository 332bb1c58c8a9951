"""Kinds of data: pictures, vectors of real numbers, texts."""
