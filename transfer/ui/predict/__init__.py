"""The third step: try a run on pictures."""
