"""The CC0 head as a template: landmark fit, signed distance, rest coordinates, and the field made of them."""
