"""Reference rows: they train nothing and stand in every table."""
