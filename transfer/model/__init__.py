"""VGG16 cut in two, and where its weights come from."""
