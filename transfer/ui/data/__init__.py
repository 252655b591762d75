"""The first step: choose what to learn from."""
