"""Finished runs: report, comparison and actions."""
