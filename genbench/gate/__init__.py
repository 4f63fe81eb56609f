"""The gate: whether a new version is worse than a bank of values that a pinned one gave.

`bank` is the file of known values, `match` finds what can be compared with what, `rule` decides by
numbers alone, `judge` puts the three together, `verdict` is what comes of it and `output` prints
it. Nothing here needs torch.
"""
