"""Kinds of data: pictures and vectors of real numbers. One file each, registered where it stands."""
