"""Device choice."""
