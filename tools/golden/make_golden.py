#!/usr/bin/env python
"""Driver of the golden fixtures.

  python make_golden.py --ref ../ref --out ../../testdata/golden --set open
  python make_golden.py --ref ../ref --out ../../second --set second --groups sam,amg

--ref: directory with check-outs named (or ending in) CLIP_Surgery, openai+CLIP,
segment-anything, MobileSAM.
"""
import argparse
import time

import common
import models

GROUPS = ["clip_vit", "surgery_ops", "sam", "tokenizer", "preprocess", "formats", "clip_resnet", "clip_text", "amg"]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--ref", default="../ref")
    ap.add_argument("--out", required=True)
    ap.add_argument("--set", choices=["open", "second"], required=True)
    ap.add_argument("--groups", default="all")
    ap.add_argument("--only", default=None, help="substring filter, where a group supports it")
    a = ap.parse_args()
    refs = common.Refs(a.ref)
    models.no_init()
    todo = GROUPS if a.groups == "all" else a.groups.split(",")
    for g in todo:
        t = time.time()
        print(f"[{a.set}] {g}", flush=True)
        mod = {"clip_vit": "g_clip", "clip_resnet": "g_clip", "clip_text": "g_clip", "surgery_ops": "g_surgery",
               "sam": "g_sam", "amg": "g_amg", "tokenizer": "g_tokenizer", "preprocess": "g_preprocess",
               "formats": "g_formats"}[g]
        st = common.Set(a.out, a.set)
        getattr(__import__(mod), g)(st, refs, a.only)
        print(f"[{a.set}] {g} done in {time.time() - t:.0f}s", flush=True)


if __name__ == "__main__":
    main()
