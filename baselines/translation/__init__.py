"""Image to image."""
