"""Writes the fixtures of internal/jpeg: small files of every kind and the
SHA-256 of the pixels that Pillow reads from them.

Usage: jpegs.py internal/jpeg/testdata (needs Pillow, numpy and cjpeg).
"""
import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

KINDS = [  # name, width, height, channels, options of Pillow's encoder or of cjpeg
    ("baseline_420", 37, 29, 3, {"subsampling": 2}),
    ("baseline_422_restart", 45, 19, 3, {"subsampling": 1, "restart_marker_blocks": 2}),
    ("baseline_narrow", 3, 21, 3, {"subsampling": 2}),
    ("progressive_420_restart", 41, 33, 3, {"subsampling": 2, "progressive": True, "restart_marker_blocks": 1}),
    ("progressive_444", 30, 23, 3, {"subsampling": 0, "progressive": True, "quality": 95}),
    ("progressive_grey", 25, 26, 1, {"progressive": True}),
    ("coarse", 24, 40, 3, {"subsampling": 2, "quality": 1}),
    ("rgb", 21, 18, 3, {"keep_rgb": True}),
    ("cmyk", 19, 27, 4, {}),
    ("cmyk_progressive", 28, 17, 4, {"progressive": True, "subsampling": 2}),
    ("sampling_440", 22, 35, 3, ["-sample", "1x2"]),
    ("sampling_411", 39, 14, 3, ["-sample", "4x1"]),
    ("sampling_mixed", 33, 34, 3, ["-sample", "1x1,2x2,2x1", "-progressive"]),
    ("one_scan_each", 34, 20, 3, ["-sample", "2x2", "-scans"]),
]


def main(folder):
    rng = np.random.default_rng(7)
    scans = folder / "scans.tmp"
    scans.write_text("0;1;2;")
    wanted = {}
    for name, w, h, channels, options in KINDS:
        y, x = np.mgrid[:h, :w]
        a = np.stack([127 + 130 * np.sin(x / 6 + c) * np.cos(y / 5 - c) for c in range(channels)], -1)
        a = np.clip(a + rng.normal(0, 12, a.shape), 0, 255).astype(np.uint8)
        image = Image.fromarray(a[..., 0] if channels == 1 else a, {1: "L", 3: "RGB", 4: "CMYK"}[channels])
        data = io.BytesIO()
        if isinstance(options, dict):
            image.save(data, "JPEG", **options)
            data = data.getvalue()
        else:
            image.save(data, "PPM")
            command = ["cjpeg", *options] + ([str(scans)] if options[-1] == "-scans" else [])
            data = subprocess.run(command, input=data.getvalue(), capture_output=True, check=True).stdout
        (folder / f"{name}.jpg").write_bytes(data)
        pixels = Image.open(io.BytesIO(data)).tobytes()
        wanted[name] = {"width": w, "height": h, "channels": channels, "sha256": hashlib.sha256(pixels).hexdigest()}
    scans.unlink()
    (folder / "pixels.json").write_text(json.dumps(wanted, indent=1) + "\n")


main(Path(sys.argv[1]))
