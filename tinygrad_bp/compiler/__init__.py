"""bp.compile: a training step recorded once, improved, and written as flat NumPy code."""
