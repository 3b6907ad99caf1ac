"""Files and their safety: atomic writes, URIs, restricted pickles, images, tables."""
