"""The example package's own tests are run where it is installed: see test_plugin.py."""

collect_ignore = ["genzoo-tiny/tests"]
