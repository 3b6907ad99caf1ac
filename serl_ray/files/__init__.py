"""Safe file access: atomic writes, URIs, restricted pickles, images and tables."""
