"""Every text of the add-on that a person reads. Imports nothing."""

from __future__ import annotations

# Blender's own style: labels in title case, descriptions without a full stop.
IMPORT_MENU = "Headstitch head (folder)"
IMPORT_LABEL = "Import Headstitch Head"
IMPORT_DESCRIPTION = (
    "Bring finished heads into the scene, from the folders that Headstitch made for them: those whose head.json is "
    "selected, or the folder that is open"
)

FOLDER = "Head Folder"
FOLDER_DESCRIPTION = "The folder that holds head.npz, albedo.png and head.json"
PLACE = "Stand At"
PLACE_DESCRIPTION = "Where the base of the neck comes to stand"
PLACE_CURSOR = "3D Cursor"
PLACE_CURSOR_DESCRIPTION = "The base of the neck stands at the 3D cursor"
PLACE_WORLD = "World Origin"
PLACE_WORLD_DESCRIPTION = "The base of the neck stands at the origin of the world"
PLACE_GIVEN = "Given Location"
PLACE_GIVEN_DESCRIPTION = "The base of the neck stands at the location below"
LOCATION = "Location"
LOCATION_DESCRIPTION = "Where the base of the neck comes to stand, in the scene's coordinates"
CAMERA = "Photo Camera"
CAMERA_DESCRIPTION = "Add a camera that sees the head as the photo does, with the photo behind it"
PHOTO_VIEW = "Render as the Photo"
PHOTO_VIEW_DESCRIPTION = (
    "Make the photo's camera the scene's camera, the render square as the photo's crop is, and the photo its backdrop"
)
FRAME_VIEW = "Frame in the View"
FRAME_VIEW_DESCRIPTION = "Move the 3D viewport so that the head fills it"
AS_ASSET = "Mark as Asset"
AS_ASSET_DESCRIPTION = "Offer the head in the asset browser, with tags and a picture"
REPLACE = "Rebuild"
REPLACE_DESCRIPTION = (
    "Name of a head in the scene that gets the new mesh and albedo; modifiers, materials and its place stay, "
    "and what it was is kept as a version"
)

RESTORE_LABEL = "Restore Head Version"
RESTORE_DESCRIPTION = "Bring an older mesh of the active head back, with its texture; the one shown now is kept"
RESTORE_VERSION = "Version"
RESTORE_VERSION_DESCRIPTION = "Name of the version's mesh; without one, the version that was shown last"
RESTORED = "{name} shows {version}"

TURNTABLE_LABEL = "Add Turntable"
TURNTABLE_DESCRIPTION = "Add a camera that goes once around the active head"
TURNTABLE_FRAMES = "Frames"
TURNTABLE_FRAMES_DESCRIPTION = "Frames that one turn takes"
TURNTABLE_PITCH = "Height"
TURNTABLE_PITCH_DESCRIPTION = "How far above the horizon the camera stands"
TURNTABLE_SET_SCENE = "Use for Rendering"
TURNTABLE_SET_SCENE_DESCRIPTION = "Make it the scene's camera, and one turn the scene's frame range"
TURNTABLE_NAME = "{name} Turntable"
TURNTABLE_CAMERA_NAME = "{name} Turntable Camera"
TURNTABLE_ADDED = "{name}: one turn in {frames} frames"

IMPORTED = "{name}: {vertices} vertices, {faces} faces"
IMPORTED_SEVERAL = "{count} of {all} heads are in the scene"
CAMERA_NAME = "{name} Camera"
ALBEDO_NAME = "{name} Albedo"
PHOTO_NAME = "{name} Photo"
BACKDROP_NAME = "{name} Backdrop"
VERSION_NAME = "{name} Version {number}"
ASSET_DESCRIPTION = "Head made from {photo} with the model {model}. {note}"
ASSET_AUTHOR = "Headstitch {version}"

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
PICTURE_TOO_LARGE = "it has {width} x {height} pixels, more than the {limit} a side that a head may have"
NOT_A_PICTURE = "it is not a picture that Blender can read"

NOT_THERE = "it is not there"
SCENE_LINKED = (
    'The scene "{scene}" is linked from another file and cannot be changed; go to a scene of this file and import again'
)
BAKE_RUNS = "A bake is running, and the scene must not change meanwhile; try again when it is done"
RENDER_RUNS = "A render is running, and the scene must not change meanwhile; import the head when it is done"
NO_HEAD_ACTIVE = "Select a head that Headstitch made"
NO_VERSIONS = "This head has no other version; rebuild it to get one"
NO_SUCH_HEAD = '"{name}" is no head of this file that Headstitch made; choose one of the scene, or import a new head'
NO_SUCH_VERSION = '"{version}" is no version of "{name}"; choose one of its versions'
REPLACE_TAKES_ONE = '{count} folders are chosen to rebuild "{name}", which takes one; choose one, or empty Rebuild'
HEAD_LINKED = '"{name}" is linked from another file and cannot be changed; make it local, or import a new head'
HEAD_IN_MODE = '"{name}" is being edited; go to Object Mode and try again'
ALBEDO_NOT_SHOWN = 'No material of the head shows its texture any more; choose "{image}" in an image node to see it'
CAMERA_STAYS = (
    'This version was made from another photo, and "{camera}" still sees the head as the later one does; '
    "rebuild the head from its photo to match the camera again"
)
SHAPE_KEYS_STAY = 'The shape keys belong to the older mesh and stay with it, in "{version}"'

IMPORT_DEFECT = (
    "The head could not be built ({reason}), and nothing of it is in the scene; free memory and try again, or report it"
)
CANNOT_LEAVE_MODE = "Blender cannot leave the mode it is in; go to Object Mode and import the head again"

# --- the panel -------------------------------------------------------------------------------------------------------

PANEL = "Headstitch"
DETAILS = "Details"
RESULTS = "Heads"
BACKEND = "Backend"
SOURCE = "Photo From"
SOURCE_DESCRIPTION = "Where the photo comes from"
SOURCE_FILE = "File"
SOURCE_FILE_DESCRIPTION = "A photo on the disk"
SOURCE_IMAGE = "Image Editor"
SOURCE_IMAGE_DESCRIPTION = "The image that an Image Editor shows"
PHOTO = "Photo"
PHOTO_DESCRIPTION = "A portrait of one person: JPEG, PNG, WebP or TIFF. It does not leave this computer"
CHOOSE_PHOTO = "Choose Photo"
MODEL = "Model"
MODEL_DESCRIPTION = "What makes the head"
MODEL_LICENCE = "Licence: {licence}"
TEMPLATE = "Template"
TEMPLATE_DESCRIPTION = "A head template fitted to the face; always there, needs no GPU"
REFRESH_MODELS = "Refresh Models"
REFRESH_MODELS_DESCRIPTION = "Ask the backend which models there are"
PRESET = "Quality"
PRESET_DESCRIPTION = "Sets the details"
PRESET_DRAFT = "Draft"
PRESET_DRAFT_DESCRIPTION = "Quick, to see whether the photo suits: 10,000 triangles, a texture of 1024 pixels"
PRESET_STANDARD = "Standard"
PRESET_STANDARD_DESCRIPTION = "40,000 triangles, a texture of 2048 pixels"
PRESET_HIGH = "High"
PRESET_HIGH_DESCRIPTION = "100,000 triangles, a texture of 4096 pixels; takes longer and needs more memory"
PRESET_CUSTOM = "Custom"
PRESET_CUSTOM_DESCRIPTION = "As the details below say"
RESOLUTION = "Resolution"
RESOLUTION_DESCRIPTION = "Points along each side of the lattice from which the surface is taken"
FACES = "Triangles"
FACES_DESCRIPTION = "Triangles of the finished mesh; 0 keeps all of them, else at least 500"
TEXTURE_SIZE = "Texture"
TEXTURE_SIZE_DESCRIPTION = "Side of the texture"
SMOOTHING = "Smoothing"
SMOOTHING_DESCRIPTION = "Rounds of smoothing of the raw surface"
NECK = "Neck"
NECK_DESCRIPTION = "What becomes of the cut through the neck"
NECK_CLOSED = "Closed"
NECK_CLOSED_DESCRIPTION = "A cap closes it, so that the head is watertight"
NECK_OPEN = "Open"
NECK_OPEN_DESCRIPTION = "It stays open, to be joined to a body"
UV = "UV Layout"
UV_DESCRIPTION = "How the texture is laid out"
UV_PARTS = "Parts"
UV_PARTS_DESCRIPTION = "Few islands, the face in one of them and upright, the same every time"
UV_OPEN3D = "Open3D"
UV_OPEN3D_DESCRIPTION = "Many islands by Open3D, another layout on every run"
QUALITY = "Measure Quality"
QUALITY_DESCRIPTION = "Measure the finished head and warn about what looks wrong; takes some seconds"
SEED = "Seed"
SEED_DESCRIPTION = "The same photo, options and seed give the same head"
DEVICE = "Device"
DEVICE_DESCRIPTION = "What computes"
DEVICE_AUTO = "Automatic"
DEVICE_AUTO_DESCRIPTION = "The graphics card where it can be used, else the processor"
DEVICE_CPU = "Processor"
DEVICE_CPU_DESCRIPTION = "The processor"
DEVICE_CUDA = "CUDA"
DEVICE_CUDA_DESCRIPTION = "An NVIDIA graphics card"
DEVICE_MPS = "Metal"
DEVICE_MPS_DESCRIPTION = "The graphics of an Apple computer"
DEBUG_IMAGES = "Debug Images"
DEBUG_IMAGES_DESCRIPTION = "Write debug.png beside the head: how the model sees the photo; not with the template"
BY_HAND = "By Hand"
FACE = "Face"
FACE_DESCRIPTION = "Which face of the photo to take, 1 for the largest; 0 takes the largest, too"
USE_ANGLES = "Angles"
USE_ANGLES_DESCRIPTION = "Give the pose of the head by hand, where it was not found well"
ANGLES = "Yaw, Pitch, Roll"
ANGLES_DESCRIPTION = "The pose of the head in degrees"
USE_CROP = "Crop"
USE_CROP_DESCRIPTION = "Give the crop by hand; where no face is found it takes crop and angles"
ANGLES_AND_CROP_BY_HAND = "Angles and Crop by hand under Details"
IN_THE_PREFERENCES = " in the add-on's preferences"
CROP_CENTRE = "Centre"
CROP_CENTRE_DESCRIPTION = "Column and row of the crop's centre in pixels of the upright photo, from its top left corner"
CROP_SIDE = "Side"
CROP_SIDE_DESCRIPTION = "Side of the crop in pixels of the upright photo"
CROP_ROTATION = "Rotation"
CROP_ROTATION_DESCRIPTION = "Rotation of the crop in degrees"
REBUILD = "Rebuild Active Head"
REBUILD_DESCRIPTION = (
    "The active head gets the new mesh and texture; its place, modifiers and materials stay, and what it was is kept "
    "as a version"
)
NO_HEAD_TO_REBUILD = "Make a head of Headstitch the active object, or switch off Rebuild Active Head"
IN_SCENE = "In the Scene"
ACTIVE_HEAD = "Active Head"
ORIGINS = {  # custom properties of a head, as the panel shows them
    "headstitch_photo_name": "Photo: {value}",
    "headstitch_model_name": "Model: {value}",
    "headstitch_version": "Made by Headstitch {value}",
}
GENERATE = "Generate"
GENERATE_LABEL = "Generate Headstitch Head"
GENERATE_DESCRIPTION = "Make a head of the photo and bring it into the scene; Blender stays free meanwhile"
CANCEL = "Cancel"
CANCEL_DESCRIPTION = "End the head that is being made, and drop those that wait"
CANCELLING = "Cancelling"
CANCELLED = "Cancelled"
STARTING = "Starting"
IMPORTING = "Importing"
IN_QUEUE = "{count} more to come"
SECONDS_FEW = "a few seconds left"
SECONDS_LEFT = "about {seconds} s left"
MINUTES_LEFT = "about {minutes} min left"
TOOK = "{seconds} s"
FREE_MEMORY = "Free Memory"
FREE_MEMORY_DESCRIPTION = "End the backend process; the next head starts it again"
BACKEND_STATES = {"stopped": "Not running", "starting": "Starting", "ready": "Running, its models are warm"}
COPY = "Copy"
COPY_DESCRIPTION = "Copy the message to the clipboard"
DISMISS = "Dismiss"
DISMISS_ALL = "Dismiss All"
DISMISS_DESCRIPTION = "Show this no more; files stay where they are"
OPEN_LOG = "Open Log"
OPEN_FOLDER = "Open Folder"
OPEN_DESCRIPTION = "Open it in the program that the system has for it"
IMPORT_AGAIN = "Import Head"
IMPORT_AGAIN_DESCRIPTION = "Bring the head that stayed on the disk into the file that is open now"
REBAKE = "Make Again"
REBAKE_DESCRIPTION = (
    "Make mesh and texture of this head again with the details that are chosen now, without fitting the photo anew; "
    "what it was is kept as a version"
)
NOTHING_TO_REBAKE = "Generate a head first; it can be made again as long as it stands in the list"
REBAKE_PHOTO_GONE = 'The photo "{photo}" is not there any more; put it back, or generate a head from another one'
REBAKE_FOLDER_GONE = 'The folder "{folder}" is not there any more; generate the head anew from its photo'
REBAKE_OTHER_PHOTO = "put that one back, or generate the head anew"
SHOW_PREFERENCES = "Preferences"
NO_WINDOW = "Blender has no window here"
SET_UP = "Set Up in the Preferences"
SHOW_PREFERENCES_DESCRIPTION = "Open the preferences of Headstitch"
IMPORT_PHOTO_MENU = "Headstitch head from photo"
IMPORT_PHOTO_LABEL = "Generate Heads"
IMPORT_PHOTO_DESCRIPTION = "Make a head of each photo, with the options of the panel; several stand in a grid"
QUEUED = "{count} photos are on their way; the sidebar's tab Headstitch shows how far they are"

WAIT_RENDER = "The head is finished and waits until the render is over"
WAIT_BAKE = "The head is finished and waits until the bake is over"
WAIT_TOOL = "The head is finished and waits until the tool in use ends"
SCENE_NOT_SHOWN = 'The scene "{scene}" in which the head was asked for is not the one that is open'
WAIT_SCENE = 'The head is finished and waits until the scene "{scene}" is shown again; cancel it to import it elsewhere'
SCENE_GONE = 'The scene "{scene}" in which the head was asked for is no more'
HEAD_GONE = 'The head "{name}" that was to be rebuilt is no more'
KEPT_OTHER_FILE = "Another file was opened meanwhile, so the head stayed on the disk"
KEPT_CANCELLED = "The import was cancelled, and the head stayed on the disk"
KEPT_REFUSED = "{reason}; the head stayed on the disk"
KEPT_DEFECT = "The head could not be imported because of a defect of the add-on; it stayed on the disk"
NO_REASON = "Blender gave no reason"

NOTHING_RUNS = "Nothing is running"
NO_BACKEND = "The backend is not running"
NO_PHOTO = "Choose a photo first"
NO_IMAGE = "Open an image in an Image Editor first, or take the photo from a file"
NO_IMAGE_SHORT = "No Image Editor shows an image"
IMAGE_CHANGED = "it was removed or resized meanwhile"
NO_PIXELS = "it has no pixels"
PHOTO_NOT_THERE = 'There is no photo "{photo}"; choose another'
IMAGE_NOT_SAVED = (
    'The image "{image}" cannot be written for Headstitch ({reason}); save it as PNG and choose it as a file'
)
NO_HEADS_FOLDER = (
    'No head can be written to "{folder}" ({reason}); make room there or mend its permissions, or choose another '
    "folder of heads in the preferences of Headstitch"
)
PATH_GONE = '"{path}" is not there any more'
DEFECT = "A defect of the add-on ({reason}); please report it with the log"

# --- the preferences -------------------------------------------------------------------------------------------------

ENVIRONMENT = "Environment of the Backend"
MAKE = "Make..."
MEND = "Mend or Change..."
UPDATE = "Update..."
PLAN_DESCRIPTION = "Find out what is missing, how large it is and what would be installed; downloads nothing"
MAKE_NOW = "Make Now"
MAKE_DESCRIPTION = "Download and install what the plan says, into a folder of the extension's own"
NOT_NOW = "Not Now"
PLAN_FIRST = "Look at the plan first: press Make"
CONSENT_FIRST = "Allow to obtain a Python, or name one"
CHECK = "Check"
CHECK_DESCRIPTION = "Look at every file and load every package; changes nothing"
REMOVE = "Remove"
REMOVE_DESCRIPTION = "Delete the environment and all that was downloaded for it; heads and models stay"
USE_EXISTING = "Use Existing Python"
USE_EXISTING_DESCRIPTION = "Run the backend in the Python named above, whose packages you look after"
FORGET_EXISTING = "Use Our Own Environment"
FORGET_EXISTING_DESCRIPTION = "Go back from the Python that you named to the environment that Headstitch makes"
NAME_PYTHON = "Name the python program of your environment under Python first"
ENVIRONMENT_CANCEL_DESCRIPTION = "Stop it; what is finished stays, and Make goes on there"
ENVIRONMENT_BUSY = "The environment of the backend is being worked on; wait until that is done"
HEAD_BEING_MADE = "A head is being made; wait for it, or cancel it first"
BUILD = "PyTorch"
BUILD_DESCRIPTION = "Which build of PyTorch is installed"
BUILD_AUTO = "Automatic"
BUILD_AUTO_DESCRIPTION = "For the NVIDIA card where it suits one, else for the processor"
BUILD_CPU = "Processor"
BUILD_CUDA = "CUDA {version}"
BUILD_SIZE = "{size} to download"
BUILD_NOW = "PyTorch: {build}"
PLAN_BUILD = "PyTorch: {build}; graphics card: {gpu}"
NO_GPU = "none that it can use"
PYTHON = "Python"
PYTHON_DESCRIPTION = "The python program of a Python 3.11 or 3.12; empty looks for one"
WHEELS = "Packages Folder"
WHEELS_DESCRIPTION = "A folder that holds the packages, for a computer without network; empty downloads them"
KEEP_WHEELS = "Keep Packages"
KEEP_WHEELS_DESCRIPTION = "Keep the downloaded packages, for another computer of the same kind"
OBTAIN_PYTHON = "Allow to Obtain a Python"
OBTAIN_PYTHON_DESCRIPTION = "Headstitch fetches uv, and by it a Python of its own, because none that suits was found"
HEADS_FOLDER = "Heads Folder"
HEADS_FOLDER_DESCRIPTION = "Where finished heads are put; empty is a folder of the extension's own"
MODELS_FOLDER = "Models Folder"
MODELS_FOLDER_DESCRIPTION = "Where models are looked for; empty is the usual place"
IDLE_MINUTES = "Minutes to Free Memory"
EMPTY_HEADS_FOLDER = "In the extension's own folder"
EMPTY_MODELS_FOLDER = "The usual place"
EMPTY_PYTHON = "Looks for one"
EMPTY_WHEELS = "Downloads them"
IDLE_MINUTES_DESCRIPTION = "Minutes after the last head when the backend ends by itself; 0 leaves it running"
