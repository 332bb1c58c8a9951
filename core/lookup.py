"""Where core finds what has a name: the facade says it, since core imports no registry."""

modalities = ""  # a module with ``names()`` and ``named(name)`` of the kinds of data, imported at the first use
