"""A run on disk: what a training saved."""
