"""What is stored between trainings: arrays of features, downloaded models and datasets."""
