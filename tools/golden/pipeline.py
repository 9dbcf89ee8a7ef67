"""End-to-end fixtures: scenes of the shapes world through the trained demo pair, by the reference code.

For each scene and one or two targets: picture, CS features, label-set and single-text similarity, grid maps,
points, SAM scores and masks; and the combined-text flow. One safetensors file per scene, one index.

    python pipeline.py --shapes ../shapes --clip-source CLIP_SURGERY --sam-source SEGMENT_ANYTHING \
        --seed 900000 --count 4 --out DIR
"""
import argparse, json, sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

ap = argparse.ArgumentParser()
for name in ("shapes", "clip-source", "sam-source", "out"):
    ap.add_argument("--" + name, type=Path, required=True)
ap.add_argument("--seed", type=int, default=900000)
ap.add_argument("--count", type=int, default=4)
a = ap.parse_args()
sys.path.insert(0, str(a.shapes))
torch.set_num_threads(1)
torch.set_grad_enabled(False)
from scenes import CLASSES, make_scene                       # noqa: E402
from train_clip import reference_clip                        # noqa: E402
from evaluate import build_predictor, read, resize, unit     # noqa: E402

clip = reference_clip(a.clip_source)
from clip.build_model import build_model                     # noqa: E402
state, _ = read(a.shapes / "shapes-clip.safetensors")
predictor = build_predictor(a.sam_source, a.shapes / "shapes-sam.safetensors")
plain = build_model("ViT", dict(state)).float()
native = 96
nouns = list(CLASSES)
text = clip.encode_text_with_prompt_ensemble(plain, nouns, "cpu")
empty = clip.encode_text_with_prompt_ensemble(plain, [""], "cpu")
a.out.mkdir(parents=True, exist_ok=True)
index = {"nouns": nouns, "native": native, "threshold": 0.8, "scenes": []}
save_file({"text": np.ascontiguousarray(text.numpy()), "empty": np.ascontiguousarray(empty.numpy())}, a.out / "text.safetensors")


def sam(points, labels):
    masks, iou, low = predictor.predict(point_coords=np.array(points), point_labels=np.array(labels), multimask_output=True)
    return masks, iou, low


for k in range(a.count):
    scene = make_scene(a.seed + k, 128)
    t = {"picture": scene.image.astype(np.uint8), "instances": scene.instances.astype(np.uint8), "semantic": scene.semantic.astype(np.uint8)}
    cases = []
    predictor.set_image(scene.image)
    t["sam.embedding"] = predictor.features[0].numpy()
    for size in (native, 2 * native):
        x = resize([scene.image], size)
        raw = unit(build_model("ViT", dict(state)).float().encode_image(x)) if size == native else None
        cs = unit(build_model("CS-ViT", dict(state)).float().encode_image(x))
        t[f"cs{size}.features"] = cs[0].numpy()                        # unit rows, row 0 the class token
        if raw is not None:
            t[f"raw{size}.features"] = raw[0].numpy()
        label_set = clip.clip_feature_surgery(cs, text)[0]             # (1+N) x 18
        single = clip.clip_feature_surgery(cs, text, empty)[0]
        t[f"cs{size}.label_set"], t[f"cs{size}.single"] = label_set.numpy(), single.numpy()
        if size != native:
            continue
        names = sorted({th.name.split()[1] for th in scene.things}, key=nouns.index)
        for name in names[:3]:
            n = nouns.index(name)
            for mode, sm in (("label_set", label_set), ("single", single)):
                pts, lab = clip.similarity_map_to_points(sm[1:, n], scene.image.shape[:2], t=0.8)
                masks, iou, low = sam(pts, lab)
                key = f"{mode}.{name}"
                t[key + ".points"] = np.array(pts, np.int32)
                t[key + ".labels"] = np.array(lab, np.int32)
                t[key + ".iou"] = iou.astype(np.float32)
                t[key + ".low_res"] = low.astype(np.float32)
                t[key + ".mask"] = np.packbits(masks[int(np.argmax(iou))].astype(np.uint8))
                cases.append({"mode": mode, "noun": name, "best": int(np.argmax(iou)), "area": int(masks[int(np.argmax(iou))].sum())})
        if len(names) >= 2:
            two = names[:2]
            sm = single[1:, [nouns.index(n) for n in two]]
            norm = (sm - sm.min(0, keepdim=True)[0]) / (sm.max(0, keepdim=True)[0] - sm.min(0, keepdim=True)[0])
            p, l = clip.similarity_map_to_points(norm.mean(-1, keepdim=True), scene.image.shape[:2], t=0.8)
            half = len(p) // 2
            pts, lab = p[half:], [l[half:]]
            for i in range(2):
                p, l = clip.similarity_map_to_points(sm[:, i], scene.image.shape[:2], t=0.8)
                half = len(p) // 2
                pts, lab = pts + p[:half], lab + [l[:half]]
            lab = np.concatenate(lab)
            masks, iou, low = sam(pts, lab)
            key = "combined." + "+".join(two)
            t[key + ".points"], t[key + ".labels"] = np.array(pts, np.int32), lab.astype(np.int32)
            t[key + ".iou"], t[key + ".low_res"] = iou.astype(np.float32), low.astype(np.float32)
            t[key + ".mask"] = np.packbits(masks[int(np.argmax(iou))].astype(np.uint8))
            cases.append({"mode": "combined", "noun": "+".join(two), "best": int(np.argmax(iou)), "area": int(masks[int(np.argmax(iou))].sum())})
    f = f"scene_{a.seed + k}.safetensors"
    save_file({k2: np.ascontiguousarray(v) for k2, v in t.items()}, a.out / f)
    index["scenes"].append({"file": f, "seed": a.seed + k, "objects": [th.name for th in scene.things], "cases": cases})
    print(f, len(cases))
(a.out / "index.json").write_text(json.dumps(index, indent=1) + "\n")
