"""From any photo to a Portrait: an aligned crop, its matte, landmarks and camera. The way in is ``make.make_portrait``."""
