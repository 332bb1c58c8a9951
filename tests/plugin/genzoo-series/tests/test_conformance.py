"""Everything that genzoo-series registers does what the zoo asks of it."""

from genzoo.testing import conformance

test_conformance = conformance("genzoo-series")
