"""Networks: trunk, encoder, actor, critics, classifier."""
