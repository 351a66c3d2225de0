"""The inversion: two encoders, the mask of what the photo sees, and the stitched tri-grid."""
