"""Training of the reward classifier from labelled images, with a threshold and a report."""
