"""Everything that genzoo-tiny registers does what the zoo asks of it: one case for each entry and check."""

from genzoo.testing import conformance

test_conformance = conformance("genzoo-tiny")
