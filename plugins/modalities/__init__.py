"""Kinds of data: pictures and vectors of real numbers."""
