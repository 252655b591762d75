"""The frozen part of the network runs once over every image; its output is cached."""
