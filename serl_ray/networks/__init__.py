"""Networks: image trunk, encoder, actor, critics and reward classifier."""
