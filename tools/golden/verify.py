#!/usr/bin/env python
"""Reloads a fixture set and checks it: python verify.py ../../testdata/golden [...]

Independent of torch and of the references: numpy + safetensors only.
"""
import hashlib
import json
import os
import sys

import numpy as np
from safetensors.numpy import load_file

import procedural as P


def softmax(x):
    x = x - x.max(-1, keepdims=True)
    e = np.exp(x)
    return e / e.sum(-1, keepdims=True)


def ln(x, w, b, eps=1e-5):
    u = x.mean(-1, keepdims=True)
    v = ((x - u) ** 2).mean(-1, keepdims=True)
    return (x - u) / np.sqrt(v + eps) * w + b


def resize_pos(pos, n):
    """bilinear, align_corners=False, no antialias, table [1+s*s, D] -> [1+n*n, D]"""
    s = int(round((pos.shape[0] - 1) ** 0.5))
    if s == n:
        return pos
    g = pos[1:].reshape(s, s, -1)
    c = np.clip((np.arange(n) + 0.5) * s / n - 0.5, 0, None)
    i0 = np.floor(c).astype(int)
    i1 = np.minimum(i0 + 1, s - 1)
    f = (c - i0)[:, None]
    r = g[i0] * (1 - f[:, None]) + g[i1] * f[:, None]
    r = r[:, i0] * (1 - f[None]) + r[:, i1] * f[None]
    return np.concatenate([pos[:1], r.reshape(n * n, -1)])


def cs_vit(arch, get, img):
    """CLIP Surgery image tower, written from the README only (float64)"""
    W = lambda k, *s: get("visual." + k, s).astype(np.float64)
    d, p, L, H = arch["vision_width"], arch["vision_patch_size"], arch["vision_layers"], arch["vision_heads"]
    b, _, h, w = img.shape
    n = h // p
    x = img.reshape(b, 3, n, p, n, p).transpose(0, 2, 4, 1, 3, 5).reshape(b, n * n, -1).astype(np.float64)
    x = x @ W("conv1.weight", d, 3, p, p).reshape(d, -1).T
    x = np.concatenate([np.broadcast_to(W("class_embedding", d), (b, 1, d)), x], 1)
    grid = arch["image_resolution"] // p
    x = x + resize_pos(W("positional_embedding", grid * grid + 1, d), n)
    x = ln(x, W("ln_pre.weight", d), W("ln_pre.bias", d))
    new = None
    for i in range(L):
        k = f"transformer.resblocks.{i}."
        y = ln(x, W(k + "ln_1.weight", d), W(k + "ln_1.bias", d))
        qkv = y @ W(k + "attn.in_proj_weight", 3 * d, d).T + W(k + "attn.in_proj_bias", 3 * d)
        q, kk, v = (t.reshape(b, -1, H, d // H).transpose(0, 2, 1, 3) for t in np.split(qkv, 3, -1))
        proj = lambda a: (softmax(a * (d // H) ** -0.5) @ v).transpose(0, 2, 1, 3).reshape(b, -1, d) @ \
            W(k + "attn.out_proj.weight", d, d).T + W(k + "attn.out_proj.bias", d)
        if i >= L - 6:
            vv = proj(v @ v.transpose(0, 1, 3, 2))
            new = (x if new is None else new) + vv
        x = x + proj(q @ kk.transpose(0, 1, 3, 2))
        y = ln(x, W(k + "ln_2.weight", d), W(k + "ln_2.bias", d)) @ W(k + "mlp.c_fc.weight", 4 * d, d).T + W(k + "mlp.c_fc.bias", 4 * d)
        y = y / (1 + np.exp(-1.702 * y))
        x = x + y @ W(k + "mlp.c_proj.weight", d, 4 * d).T + W(k + "mlp.c_proj.bias", d)
    new[:, 0] = x[:, 0]
    return ln(new, W("ln_post.weight", d), W("ln_post.bias", d)) @ W("proj", d, arch["embed_dim"])


def check(root):
    idx = json.load(open(os.path.join(root, "index.json")))
    nt = 0
    for e in idx["fixtures"]:
        path = os.path.join(root, e["file"])
        if e["file"].endswith(".json"):
            json.load(open(path))
            continue
        if e["file"].endswith(".jsonl"):
            rows = [json.loads(x) for x in open(path, encoding="utf-8")]
            assert len(rows) == e["lines"]
            for r in rows:
                assert r["ids"][0] == 49406 and r["ids"][-1] == 49407 and len(r["ids"]) <= 77
            continue
        t = load_file(path)
        used = set()
        for n, d in e["inputs"].items():
            if "tensor" in d:
                assert list(t[d["tensor"]].shape) == d["shape"], (e["file"], n)
                used.add(d["tensor"])
            if "file" in d:
                assert os.path.exists(os.path.join(root, d["file"]))
        for n, d in e["outputs"].items():
            if "error" in d:
                continue
            if d["stored"] == "full":
                k = "out." + n
                a = t[k]
                used.add(k)
                assert list(a.shape) == d["shape"], (e["file"], n, a.shape)
                if "sum" in d:
                    f = a.astype(np.float64)
                    assert abs(f.sum() - d["sum"]) <= 1e-6 * max(1, np.abs(f).sum()), (e["file"], n)
                if "sha256" in d:
                    assert hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest() == d["sha256"]
            else:
                k = f"out.{n}.s{d['stride']}"
                used.add(k)
                numel = int(np.prod(d["shape"]))
                assert t[k].size == -(-numel // d["stride"]), (e["file"], n)
                for r in d.get("rows", []):
                    used.add(f"out.{n}.{r}")
                    assert t[f"out.{n}.{r}"].size == d["shape"][-1]
                if "rms" in d and t[k].size > 2000:
                    assert 0.8 < np.sqrt((t[k].astype(np.float64) ** 2).mean()) / d["rms"] < 1.25, (e["file"], n)
            nt += 1
        for k, v in t.items():
            if v.dtype.kind == "f" and not k.startswith("out.score_"):
                assert np.isfinite(v).all(), (e["file"], k)
        assert set(t) <= used, (e["file"], set(t) - used)
    # independent forward passes
    worst = 0.0
    for e in idx["fixtures"]:
        nm = os.path.basename(e["file"])
        if e["group"] == "clip_vit" and nm.startswith(("cs_tiny_", "cs_ViT-B-32")) and "sequence" not in nm:
            i = e["inputs"]["image"]["procedural"]
            img = P.blocky(i["name"], i["shape"], i["cell"], i["b_block"], i["b_noise"])
            y = cs_vit(e["architecture"], lambda k, s: P.weight(k, s, e["weights"]["prefix"]), img)
            d = e["outputs"]["features"]
            t = load_file(os.path.join(root, e["file"]))
            got = y.reshape(-1)[::d.get("stride", 1)]
            want = t["out.features" + (f".s{d['stride']}" if d["stored"] == "strided" else "")].reshape(-1)
            err = float(np.abs(got - want).max())
            worst = max(worst, err / d["tolerance"]["abs"])
            assert err < d["tolerance"]["abs"], (nm, err)
    fe = [e for e in idx["fixtures"] if e["file"] == "formats/clip_expected.safetensors"]
    if fe:
        e = fe[0]
        w = load_file(os.path.join(root, "formats/clip_f16.safetensors"))
        i = e["inputs"]["image"]["procedural"]
        y = cs_vit(e["architecture"], lambda k, s: w[k].reshape(s), P.blocky(i["name"], i["shape"], i["cell"], i["b_block"], i["b_noise"]))
        err = float(np.abs(y - load_file(os.path.join(root, e["file"]))["out.cs_tokens"]).max())
        assert err < e["outputs"]["cs_tokens"]["tolerance"]["abs"], err
    size = sum(os.path.getsize(os.path.join(r, f)) for r, _, fs in os.walk(root) for f in fs)
    per = {}
    for r, _, fs in os.walk(root):
        g = os.path.relpath(r, root).split(os.sep)[0]
        for f in fs:
            c = per.setdefault(g, [0, 0])
            c[0] += 1
            c[1] += os.path.getsize(os.path.join(r, f))
    print(f"{idx['set']}: {len(idx['fixtures'])} entries, {nt} outputs, {size / 1e6:.2f} MB; numpy forward: worst error/tolerance {worst:.3f}")
    for g in sorted(per):
        print(f"   {g:12s} {per[g][0]:4d} files {per[g][1] / 1e6:7.2f} MB")
    # leftovers
    idxf = {e["file"] for e in idx["fixtures"]}
    for r, _, fs in os.walk(root):
        for f in fs:
            p = os.path.relpath(os.path.join(r, f), root)
            if p.endswith(".safetensors") and not p.startswith("formats") and p not in idxf:
                print("   not in index:", p)
    txt = open(os.path.join(root, "index.json")).read()
    for bad in ("/tmp/", "/work/", "/home/", "/root/"):
        assert bad not in txt, bad


if __name__ == "__main__":
    for r in sys.argv[1:]:
        check(r)
