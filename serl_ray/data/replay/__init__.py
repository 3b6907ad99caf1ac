"""The replay: ring, log, mixer of demonstrations and experience, stored maps, streams."""
