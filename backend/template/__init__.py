"""The CC0 head as a template: landmark fit, signed distance, rest coordinates, and the field made of them."""

LICENCE = "CC0-1.0"  # see data/README.md
