"""From any photo to a Portrait: a crop with matte, landmarks and camera. The way in is ``make.make_portrait``."""
