"""Small images to larger ones."""
