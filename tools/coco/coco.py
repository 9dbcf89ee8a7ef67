"""Write surgery/eval/testdata/coco.json: polygons and run lengths with the masks that pycocotools 2.0.11 makes of them."""

import json
import random

from pycocotools import mask

random.seed(1)
images, objects, masks = [], [], []
for i in range(12):
    h, w = random.choice([(37, 50), (64, 64), (20, 91), (1, 9), (9, 1)])
    images.append({"id": 100 + i, "file_name": f"{i}.png", "width": w, "height": h})
    for k in range(4):
        polygons = []
        for _ in range(random.choice([1, 1, 2])):
            n = random.randint(3, 9)
            polygons.append([round(random.uniform(-0.2, 1.2) * (h if j % 2 else w), random.choice([0, 1, 2])) for j in range(2 * n)])
        rle = mask.merge(mask.frPyObjects(polygons, h, w))
        kind = random.choice(["polygon", "polygon", "compressed", "plain"])
        seg = polygons
        if kind != "polygon":
            seg = {"size": [h, w], "counts": rle["counts"].decode()}
        flat = mask.decode(rle).flatten(order="F")
        if kind == "plain":
            runs, value, count = [], 0, 0
            for v in flat:
                if v != value:
                    runs.append(count)
                    value, count = v, 0
                count += 1
            seg["counts"] = runs + [count]
        objects.append({"id": len(objects), "image_id": 100 + i, "category_id": random.choice([3, 7, 5]), "area": float(mask.area(rle)),
                        "iscrowd": int(kind == "plain"), "segmentation": seg})
        masks.append("".join(map(str, flat)))
with open("../../surgery/eval/testdata/coco.json", "w") as f:
    json.dump({"images": images, "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 5, "name": "bus"}],
               "annotations": objects, "masks": masks}, f, indent=0)
