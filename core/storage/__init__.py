"""Files: strict reading, whole writing, weights folders, runs and their checkpoints."""
