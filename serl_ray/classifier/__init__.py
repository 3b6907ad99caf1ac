"""The reward classifier's training: labelled frames in, a network with a threshold and a report out."""
