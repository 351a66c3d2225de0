"""Every text of the add-on that a person reads. Imports nothing."""

from __future__ import annotations

# Blender's own style: labels in title case, descriptions without a full stop.
IMPORT_MENU = "Headstitch head (folder)"
IMPORT_LABEL = "Import Headstitch Head"
IMPORT_DESCRIPTION = "Bring a finished head into the scene, from the folder that Headstitch made for it"

FOLDER = "Head Folder"
FOLDER_DESCRIPTION = "The folder that holds head.npz, albedo.png and head.json"
PLACE = "Stand At"
PLACE_DESCRIPTION = "Where the base of the neck comes to stand"
PLACE_CURSOR = "3D Cursor"
PLACE_CURSOR_DESCRIPTION = "The base of the neck stands at the 3D cursor"
PLACE_WORLD = "World Origin"
PLACE_WORLD_DESCRIPTION = "The base of the neck stands at the origin of the world"
CAMERA = "Photo Camera"
CAMERA_DESCRIPTION = "Add a camera that sees the head as the photo does"
PHOTO_VIEW = "Render as the Photo"
PHOTO_VIEW_DESCRIPTION = "Make the photo's camera the scene's camera and the render square, as the photo's crop is"

IMPORTED = "{name}: {vertices} vertices, {faces} faces"
CAMERA_NAME = "{name} Camera"
ALBEDO_NAME = "{name} Albedo"

CHOOSE_FOLDER = "Choose the folder that Headstitch made for one head; it holds head.npz, albedo.png and head.json"
NOT_A_FOLDER = 'There is no folder "{folder}"; choose the folder that Headstitch made for one head'
FILE_MISSING = (
    'The folder "{folder}" has no {file}; choose the folder that Headstitch made for one head, or make the head again'
)
FILE_UNREADABLE = '"{file}" cannot be read ({reason}); check its permissions, or copy the head folder again'
FILE_DAMAGED = '"{file}" is damaged: {reason}; copy the head folder again, or make the head again'
OTHER_SCHEMA = (
    'The head in "{folder}" has the format {schema}, and this version of the add-on reads {reads}; '
    "update the add-on, or make the head again"
)

NOT_AN_ARCHIVE = "it is not a file of arrays"
TOO_LARGE = "it unpacks to {size} MB, more than the {limit} MB that a head may take"
ARRAY_MISSING = "it has no array {array}"
ARRAY_SHAPE = "{array} has the shape {shape}, not {wanted}"
ARRAY_KIND = "{array} holds {kind}, not {wanted}"
ARRAY_NOT_FINITE = "{array} holds numbers that are not finite"
NO_FACES = "its mesh has no faces"
FACE_RANGE = "a face names the vertex {index}, but there are only {vertices}"
FACE_COLLAPSED = "a face names the same vertex twice"
FLAT_MESH = "its mesh has no height"
CAMERA_ROTATION = "cam2world does not turn and move alone"
CAMERA_LENS = "intrinsics are not those of a lens without distortion"
NOT_JSON = "it is not JSON text"
NOT_A_RECORD = "it is not the record of a Headstitch head"
NOT_A_PICTURE = "it is not a picture that Blender can read"

CANNOT_LEAVE_MODE = "Blender cannot leave the mode it is in; go to Object Mode and import the head again"
