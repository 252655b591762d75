"""The tab Publish."""
