"""The kinds of parts that a model is composed of."""

KINDS = ("objective", "generator", "encoder", "critic", "likelihood", "posterior", "prior")  # one of each, at most
LISTS = ("regularizer", "augmentation")  # any number of each
