"""The second step: train."""
