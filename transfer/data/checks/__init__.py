"""Dataset checks: unreadable images, small classes, odd sizes, duplicates."""
