"""The body's tensors of a large file on the Hub."""
