"""A finished run, an exported folder or a Hub model as a classifier."""
