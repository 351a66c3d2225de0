"""From a HeadField to a textured mesh: lattice, surface, UVs, texture."""
