"""From what the user names to labelled images in three splits, and from a picture to a tensor."""
