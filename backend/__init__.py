"""The backend: everything that imports torch. Runs in its own Python environment, never inside Blender.

Legend of shape letters, used in docstrings and trailing comments:

    B  batch                    N  points, samples           V  vertices of a mesh
    F  triangles of a mesh      H, W  rows, columns of an image
    R  nodes along one side of a lattice                     L  landmarks (478, MediaPipe FaceMesh)

World space is PanoHead's: y up, x to the viewer's right of a frontal face, z out of the face, origin at
the head's centre, one unit = 42.3 cm (1 cm = 0.02366 units). Cameras are OpenCV cameras (x right, y down,
z forward) 2.7 units away with a focal length of 4.2647 image widths.
"""
