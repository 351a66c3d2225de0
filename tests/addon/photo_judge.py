"""What the test of the photo's match asks of the backend, in a process of the backend's Python: Blender's lacks it.

make PHOTO FOLDER            a coarse head of the photo
judge PHOTO ALPHA OVER       a JSON line: how a render's silhouette and a render over the photo fit the photo
"""

from __future__ import annotations

import json
import sys

import headstitch
import numpy as np
from headstitch.backend.portrait.faces import find_landmarks
from headstitch.backend.portrait.make import make_portrait
from headstitch.backend.results.quality import landmark_error, silhouette_iou
from PIL import Image

OPTIONS = headstitch.Options(resolution=160, faces=12000, texture_size=1024, quality=False)
RIM = 40  # pixels at the left and right of the photo, where no head is


def judge(photo: str, alpha: str, over: str) -> dict[str, float]:
    portrait = make_portrait(photo, OPTIONS)
    mask = np.asarray(Image.open(alpha))[..., 3] / 255
    picture = np.ascontiguousarray(np.asarray(Image.open(over))[..., :3])
    found = find_landmarks(picture)
    behind = portrait.matte < 0.01
    behind[:, RIM:-RIM] = False
    return {
        "iou": silhouette_iou(mask, portrait) or 0.0,
        "iou_mirrored": silhouette_iou(mask[:, ::-1], portrait) or 0.0,
        "landmark_percent": float("inf") if found is None else landmark_error(found / len(picture), portrait.landmarks),
        "rim_pixels": int(behind.sum()),
        "rim_error": float(np.median(np.abs(picture.astype(int) - portrait.image)[behind].mean(axis=-1))),
    }


if __name__ == "__main__":
    if sys.argv[1] == "make":
        headstitch.reconstruct(sys.argv[2], sys.argv[3], options=OPTIONS)
    else:
        print(json.dumps(judge(*sys.argv[2:])))
