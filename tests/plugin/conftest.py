"""The example packages' own tests are run where they are installed: see test_plugin.py and test_series.py."""

collect_ignore = ["genzoo-tiny/tests", "genzoo-series/tests"]
