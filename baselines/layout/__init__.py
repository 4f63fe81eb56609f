"""Models that draw objects where a layout puts them."""
