"""Families of generative models: one file is one family, and the file's stem is its name."""
