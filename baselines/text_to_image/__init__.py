"""Models that draw what a caption says."""
