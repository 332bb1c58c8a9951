"""The trainer, the processes it may run on, and what watches a run."""
