"""Finished runs: report, comparison, actions."""
