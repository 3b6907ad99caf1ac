"""Ray clusters: starting Ray, room for workers, and jobs."""
