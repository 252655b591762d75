"""What a process runs on: its hardware, its host's settings, its siblings and its signals."""
