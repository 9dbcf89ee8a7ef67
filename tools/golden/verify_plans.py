#!/usr/bin/env python
"""Recomputes the fixtures of g_plans.py from the formulas of docs/reference/plans.md
alone, in float64 numpy: python verify_plans.py ../../testdata/golden/plans [...]

Needs neither torch nor a reference.  Decisions are taken in float64 here; the
fixtures were chosen so that float32 takes the same ones.
"""
import json
import os
import sys
import time

import numpy as np
from safetensors.numpy import load_file

import procedural as P

WORST = {}


# ----------------------------------------------------------------- the tower
def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def unit(x):
    return x / np.sqrt((x * x).sum(-1, keepdims=True))


def cubic(t, a=-0.75):
    t = abs(t)
    if t <= 1:
        return ((a + 2) * t - (a + 3)) * t * t + 1
    if t < 2:
        return (((t - 5) * t + 8) * t - 4) * a
    return 0.0


def resize_rows(g, n):
    """bicubic along axis 0 to n samples, step side/(n + 0.1)"""
    s = g.shape[0]
    out = np.zeros((n,) + g.shape[1:])
    for i in range(n):
        c = (i + 0.5) * s / (n + 0.1) - 0.5
        f = int(np.floor(c))
        for k in range(-1, 3):
            out[i] += cubic(c - f - k) * g[min(max(f + k, 0), s - 1)]
    return out


class Tower:
    def __init__(self, e):
        a = e["architecture"]
        self.d, self.p, self.L, self.H = a["vision_width"], a["vision_patch_size"], a["vision_layers"], a["vision_heads"]
        self.side, self.embed, self.prefix = a["image_resolution"] // self.p, a["embed_dim"], e["weights"]["prefix"]
        self.scaled = e["weights"].get("scaled")

    def w(self, k, *shape):
        v = P.weight("visual." + k, shape, self.prefix).astype(np.float64)
        if self.scaled and k.endswith(self.scaled["suffix"]):
            v *= self.scaled["by"]
        return v

    def ln(self, x, k):
        u = x.mean(-1, keepdims=True)
        v = ((x - u) ** 2).mean(-1, keepdims=True)
        return (x - u) / np.sqrt(v + 1e-5) * self.w(k + ".weight", self.d) + self.w(k + ".bias", self.d)

    def block(self, i):
        return f"transformer.resblocks.{i - 1}."

    def qkv(self, h, i):
        """h = LN1(x) -> Q, K, V [heads, n, d/heads] of block i (from 1)"""
        k, d = self.block(i), self.d
        y = h @ self.w(k + "attn.in_proj_weight", 3 * d, d).T + self.w(k + "attn.in_proj_bias", 3 * d)
        return (t.reshape(len(h), self.H, -1).transpose(1, 0, 2) for t in np.split(y, 3, -1))

    def out(self, u, i):
        k, d = self.block(i), self.d
        return u.transpose(1, 0, 2).reshape(-1, d) @ self.w(k + "attn.out_proj.weight", d, d).T + self.w(k + "attn.out_proj.bias", d)

    def run(self, img):
        """outputs of blocks 1 .. L-1 [1+n, d] and their attentions [heads, 1+n, 1+n]; index 0 = the input of block 1"""
        p, d = self.p, self.d
        r, c = img.shape[2] // p, img.shape[3] // p
        x = img[0, :, :r * p, :c * p].astype(np.float64).reshape(3, r, p, c, p).transpose(1, 3, 0, 2, 4).reshape(r * c, -1)
        x = x @ self.w("conv1.weight", d, 3, p, p).reshape(d, -1).T
        pos = self.w("positional_embedding", self.side ** 2 + 1, d)
        if (r, c) != (self.side, self.side):
            g = resize_rows(pos[1:].reshape(self.side, self.side, d), r)
            g = resize_rows(g.transpose(1, 0, 2), c).transpose(1, 0, 2)
            pos = np.concatenate([pos[:1], g.reshape(r * c, d)])
        x = self.ln(np.concatenate([self.w("class_embedding", d)[None], x]) + pos, "ln_pre")
        xs, at = [x], [None]
        s = (d // self.H) ** -0.5
        for i in range(1, self.L):
            k = self.block(i)
            q, kk, v = self.qkv(self.ln(x, k + "ln_1"), i)
            a = softmax(s * q @ kk.transpose(0, 2, 1))
            x = x + self.out(a @ v, i)
            y = self.ln(x, k + "ln_2") @ self.w(k + "mlp.c_fc.weight", 4 * d, d).T + self.w(k + "mlp.c_fc.bias", 4 * d)
            y = y / (1 + np.exp(-1.702 * y))
            x = x + y @ self.w(k + "mlp.c_proj.weight", d, 4 * d).T + self.w(k + "mlp.c_proj.bias", d)
            xs.append(x)
            at.append(a)
        return xs, at

    def read(self, y):
        return self.ln(y, "ln_post") @ self.w("proj", self.d, self.embed)


# ------------------------------------------------------------- the small steps
def local_outlier(x, k=30):
    n = len(x)
    if n <= k:
        return np.full(n, np.nan), np.nan, []
    d = np.stack([((x - r) ** 2).sum(1) for r in x])
    np.fill_diagonal(d, -1)
    near = np.argsort(d, 1, kind="stable")[:, 1:k + 1]
    kappa = np.take_along_axis(d, near[:, -1:], 1)[:, 0]
    s = kappa * (1 / kappa)[near].mean(1)
    o, pos = np.sort(s), 0.95 * (n - 1)
    lo = int(np.floor(pos + 1e-6))
    t = o[lo] + max(pos - lo, 0) * (o[min(lo + 1, n - 1)] - o[lo]) if pos - lo > 1e-6 else o[lo]
    return s, t, [int(i) for i in np.nonzero(s > t)[0]]


def repair(x, flagged, r, c, zero=False):
    out, bad = x.copy(), set(flagged)
    for j in flagged:
        near = [a * c + b for a in range(j // c - 1, j // c + 2) for b in range(j % c - 1, j % c + 2)
                if 0 <= a < r and 0 <= b < c and a * c + b not in bad]
        if near:
            out[j] = x[near].mean(0)
        elif zero:
            out[j] = 0
    return out


def keep(C, t=np.float64(np.float32(0.4))):
    return np.where(C >= t, C, 0)


def row(W):
    return W / (W.sum(1, keepdims=True) + 1e-6)


def pi(C):
    z = 3 * (C - C.mean())
    return softmax(np.where(z < 0, -np.inf, z))


def cosine(x):
    x = unit(x)
    return x @ x.T


# --------------------------------------------------------------------- compare
class Check:
    def __init__(self, root, e):
        self.e, self.t, self.name, self.n = e, load_file(os.path.join(root, e["file"])), e["file"], 0

    def exact(self, k, v):
        v = np.asarray(v)
        w = self.t["out." + k]
        assert v.shape == w.shape and (v == w).all(), (self.name, k, v, w)
        self.n += 1

    def near(self, k, v):
        v = np.asarray(v, np.float64)
        d = self.e["outputs"].get(k)
        if d is None:
            return
        assert list(v.shape) == d["shape"], (self.name, k, v.shape, d["shape"])
        if d["stored"] == "full":
            err = np.abs(v - self.t["out." + k]).max()
        else:
            err = np.abs(v.reshape(-1)[::d["stride"]] - self.t[f"out.{k}.s{d['stride']}"]).max()
            for r, i in (("first", 0), ("last", -1)):
                if r in d.get("rows", []):
                    err = max(err, np.abs(v[i] - self.t[f"out.{k}.{r}"]).max())
        tol = d["tolerance"]["abs"]
        assert err <= tol, (self.name, k, err, tol)
        g = self.e["file"].split("_")[0].split(".")[0]
        w = WORST.setdefault((g, k.lstrip("0123456789").split(".")[-1]), [0, 0, ""])
        if err / tol > w[1]:
            w[0], w[1], w[2] = err, err / tol, self.name
        self.n += 1


def picture(e):
    i = e["inputs"]["image"]["procedural"]
    return P.blocky(i["name"], i["shape"], i["cell"], i["b_block"], i["b_noise"])


# -------------------------------------------------------------- SC-CLIP and SFP
def calibrated(e, ck, sfp):
    T, p = Tower(e), e["plan"]
    r, c = p["grid"]
    xs, at = T.run(picture(e))
    L, s = T.L, (T.d // T.H) ** -0.5
    last, mid = xs[L - 1], xs[p["correlation"]]
    if p["flag"] == "LOF":
        sc, thr, J = local_outlier(last[1:])
        ck.near("scores", sc)
        ck.near("threshold", thr)
    elif p["flag"] == "norm":
        sc = np.sqrt((last[1:] ** 2).sum(1))
        J = sorted(int(i) for i in np.argsort(-sc, kind="stable")[:10])
        ck.near("scores", sc)
    else:
        a = at[L - 1].mean(0)
        to, self_ = p["class_factor"] * a[0, 1:], np.diag(a)[1:]
        cand = [i for i in np.argsort(-to, kind="stable") if to[i] > self_[i]]
        J = sorted(int(i) for i in cand[:10])
        ck.near("class_to_patch", to)
        ck.near("patch_to_itself", self_)
    ck.exact("flagged", np.array(J, np.int32))
    for b in (p["after"], p["correlation"], L - 1):
        ck.near(f"block{b}", xs[b])
    xr, mr = repair(last[1:], J, r, c), repair(mid[1:], J, r, c)
    ck.near("repaired_last", xr)
    ck.near("repaired_correlation", mr)
    C, C4 = cosine(mr), cosine(xs[p["after"]][1:])
    W, W4 = keep(C), keep(C4)
    ck.near("cosines", C)
    ck.near("after_cosines", W4)
    ck.exact("cosines_kept", [int((W > 0).sum()), int((W4 > 0).sum())])
    x = row(W) @ xr
    ck.near("aggregated", x)
    PI, k = pi(W if sfp else C), T.block(L)
    ck.near("attention_pi", PI)

    def last_block(x, cls, only_pi):
        q, kk, v = T.qkv(T.ln(x, k + "ln_1"), L)
        A = PI[None]
        if not only_pi:
            KK = softmax(s * kk @ kk.transpose(0, 2, 1))
            A = (A + KK) / 2
            if sfp:
                QQ = softmax(s * q @ q.transpose(0, 2, 1))
                A = (PI[None] + KK + QQ) / 3
                first and ck.near("attention_qq", QQ)
            first and ck.near("attention_kk", KK)
        return T.out(A @ v, L) + p["class_weight"] * cls
    first = True
    y1 = last_block(x, last[0], False)
    ck.near("first", y1)
    a1 = row(W4) @ y1
    ck.near("first_aggregated", a1)
    S = sum(xs[i] for i in range(p["sum_first"], p["sum_last"] + 1))
    ck.near("summed", S[1:])
    first = False
    y2 = last_block(S[1:], S[0], sfp)
    ck.near("second", y2)
    a2 = row(W4) @ y2
    ck.near("second_aggregated", a2)
    ck.near("sum", a1 + a2)
    ck.near("features", T.read(a1 + a2))


# --------------------------------------------------------------------- ResCLIP
def upsample(m, h, w):
    """[k, r, c] -> [k, h, w], bilinear, half-pixel centres"""
    def axis(n, s):
        c = np.clip((np.arange(n) + 0.5) * s / n - 0.5, 0, None)
        i = np.floor(c).astype(int)
        return i, np.minimum(i + 1, s - 1), c - i
    i, j, f = axis(h, m.shape[1])
    m = m[:, i] * (1 - f)[None, :, None] + m[:, j] * f[None, :, None]
    i, j, f = axis(w, m.shape[2])
    return m[:, :, i] * (1 - f) + m[:, :, j] * f


def pamr(img, m, steps, dilations):
    def around(x, d):
        h, w = x.shape[-2:]
        z = np.pad(x, ((0, 0), (d, d), (d, d)), mode="edge")
        return [z[:, d + dy * d:d + dy * d + h, d + dx * d:d + dx * d + w] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    nine = np.stack([v for d in dilations for v in around(img, d)])          # 18 neighbours with the centre twice
    std = nine.std(0, ddof=1)
    eight = np.stack([v for d in dilations for i, v in enumerate(around(img, d)) if i != 4])
    z = (-np.abs(img[None] - eight) / (1e-8 + 0.1 * std[None])).mean(1)
    w = np.exp(z - z.max(0))
    w /= w.sum(0)
    for _ in range(steps):
        m = sum(wi[None] * v for wi, v in zip(w, (v for d in dilations for i, v in enumerate(around(m, d)) if i != 4)))
    return m


def feedback(labels, std):
    r, c = labels.shape
    n, lab = r * c, labels.reshape(-1)
    y, x = np.divmod(np.arange(n), c)
    cheb = np.maximum(abs(y[:, None] - y[None]), abs(x[:, None] - x[None]))
    S = cheb.max()

    def step(a, b, t):
        """round((a (S-t) + b t) / S), halves to even, in integers"""
        num = a * (S - t) + b * t
        q, rem = np.divmod(num, S)
        return q + ((2 * rem > S) | ((2 * rem == S) & (q % 2 == 1)))
    clear = np.ones((n, n), bool)
    for t in range(S + 1):
        cy, cx = step(y[:, None], y[None], t), step(x[:, None], x[None], t)
        clear &= (t > cheb) | (labels[cy, cx] == lab[:, None])
    F = (lab[:, None] == lab).astype(np.float64)
    F = np.where(clear, F, F * np.exp(-cheb / S))
    size = min(n, int(6 * std + 1))
    size += 1 - size % 2
    g = np.exp(-(np.arange(size) - size // 2) ** 2 / (2 * std * std))
    g /= g.sum()
    F = np.stack([np.convolve(np.pad(v, size // 2), g, "valid") for v in F])
    return F / (F.sum(1, keepdims=True) + 1e-8)


def resclip(e, ck):
    T, p = Tower(e), e["plan"]
    r, c = p["grid"]
    img = picture(e)
    xs, at = T.run(img)
    n, s = r * c, (T.d // T.H) ** -0.5
    R = sum(at[i] for i in p["rcs_blocks"]) / len(p["rcs_blocks"])
    ck.near("rcs", R.mean(0))
    y, x = np.divmod(np.arange(n), c)
    G = np.zeros((n + 1, n + 1))
    G[1:, 1:] = np.exp(-((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2) / (2 * p["gaussian_std"] ** 2))
    q, k, v = T.qkv(T.ln(xs[T.L - 1], T.block(T.L) + "ln_1"), T.L)
    KK = s * k @ k.transpose(0, 2, 1)
    t2, l2, t1, l1 = p["tau_rcs"], p["lambda_rcs"], p["tau_sfr"], p["lambda_sfr"]

    def features(Z):
        return T.read(T.out((t2 * ((1 - l2) * softmax(Z + G) + l2 * R)) @ v, T.L))
    f = features(KK)
    ck.near("first_features", f)
    text = ck.t["in.text"].astype(np.float64)
    maps = (unit(f[1:]) @ text.T).T.reshape(-1, r, c)
    h, w = img.shape[2:]
    maps = pamr(img[0].astype(np.float64), upsample(maps, h, w), p["pamr_steps"], p["pamr_dilations"])
    prob = softmax(p["logit_scale"] * maps.transpose(1, 2, 0)).transpose(2, 0, 1)
    ck.near("probabilities", prob.reshape(len(text), -1))
    lab = prob.argmax(0)
    lab[prob.max(0) < p["threshold"]] = 0
    P_ = T.p
    lab = lab[:r * P_, :c * P_].reshape(r, P_, c, P_).transpose(0, 2, 1, 3).reshape(n, -1)
    lab = np.array([np.bincount(v, minlength=len(text)).argmax() for v in lab]).reshape(r, c)
    ck.exact("labels", lab)
    F = feedback(lab, p["gaussian_std"])
    ck.near("feedback", F)
    Z = np.zeros((n + 1, n + 1))
    Z[1:, 1:] = F / F.max()
    ck.near("features", features(t1 * ((1 - l1) * KK + l1 * Z)))


# ------------------------------------------------------------------ the others
def functions(e, ck):
    for c in e["inputs"]["cases"]["value"]:
        k = c["case"]
        x = ck.t[f"in.{k}.x"].astype(np.float64)
        if k.startswith("lof"):
            s, t, J = local_outlier(x)
            ck.near(k + ".scores", s)
            ck.near(k + ".threshold", t)
            ck.exact(k + ".flagged", J)
        else:
            ck.near(k + ".repaired", repair(x, c["flagged"], c["rows"], c["columns"]))
            ck.near(k + ".repaired_sfp", repair(x, c["flagged"], c["rows"], c["columns"], True))
    for i in range(2):
        x, C = (ck.t[f"in.aggregate{i}.{k}"].astype(np.float64) for k in ("x", "affinity"))
        ck.near(f"aggregate{i}.result", row(keep(C)) @ x)


def boxes(m, t):
    """half-open boxes of the 8-connected parts of trunc(255 m) > trunc(t max), FreeCP's border included"""
    g = np.floor(np.float32(255) * m.astype(np.float32)).astype(int)
    on = g > int(t * g.max())
    seen, out = np.zeros_like(on), []
    h, w = on.shape
    for y, x in zip(*np.nonzero(on)):
        if seen[y, x]:
            continue
        todo, part = [(y, x)], []
        seen[y, x] = True
        while todo:
            a, b = todo.pop()
            part.append((a, b))
            for u in range(max(a - 1, 0), min(a + 2, h)):
                for v in range(max(b - 1, 0), min(b + 2, w)):
                    if on[u, v] and not seen[u, v]:
                        seen[u, v] = True
                        todo.append((u, v))
        ys, xs = zip(*part)
        out.append((min(ys), min(max(ys) + 1, h - 1), min(xs), min(max(xs) + 1, w - 1)))
    return out


def freecp(e, ck):
    p = e["plan"]
    h, w = p["grid"]
    prob = ck.t["in.probabilities"].astype(np.float64)
    prob32 = ck.t["in.probabilities"]
    T = ck.t["in.attention"].astype(np.float64)
    m32 = (prob32 - prob32.min()) / (prob32.max() - prob32.min())
    m = (prob - prob.min()) / (prob.max() - prob.min())
    for _ in range(3):
        T = T / T.sum(0, keepdims=True)
        T = T / T.sum(1, keepdims=True)
    T = (T + T.T) / 2
    T = T @ T
    bg, r = p["background_prompts"], np.zeros_like(m)
    for i in range(bg, len(m)):
        B = np.zeros((h, w))
        for y0, y1, x0, x1 in boxes(m32[i], p["box_threshold"]):
            B[y0:y1, x0:x1] = 1
        v = (T @ (B.reshape(-1) * m[i].reshape(-1))).reshape(h, w)
        r[i] = (v - v.min()) / (v.max() - v.min() + 1e-8)
    ck.near("refined", r)
    q, z = prob[bg:], r[bg:]
    iou = (q * z).sum((1, 2)) / (q.sum((1, 2)) + z.sum((1, 2)) + 1e-8)
    ck.near("overlap", iou)
    kept = np.nonzero(iou > p["keep"])[0]
    ck.exact("kept", kept)
    z = z[kept]
    soft = np.minimum(z[:, None], z).sum((2, 3)) / np.maximum(z[:, None], z).sum((2, 3))
    ck.near("soft_iou", soft)
    left, groups = set(range(len(kept))), []
    for i in range(len(kept)):
        if i in left:
            part, todo = [], [i]
            left.discard(i)
            while todo:
                a = todo.pop()
                part.append(a)
                for b in sorted(left):
                    if soft[a, b] >= p["same"]:
                        left.discard(b)
                        todo.append(b)
            groups.append(part)
    want = [[int(v) for v in g if v >= 0] for g in ck.t["out.groups"]]
    assert [sorted(g) for g in groups] == [sorted(g) for g in want], (groups, want)
    ck.n += 1


def voting(e, ck):
    p = e["plan"]
    sm = ck.t["in.scores"].astype(np.float64)
    t, h, w = sm.shape
    masks = np.unpackbits(ck.t["in.masks"], axis=1)[:, :h * w].reshape(-1, h, w).astype(bool)
    prob = softmax(p["logit_scale"] * sm.transpose(1, 2, 0))
    lab = prob.argmax(-1)
    lab[prob.max(-1) < p["threshold"]] = p["background"]
    ck.exact("before", lab)
    inst = np.zeros((h, w), int)
    for i, m in enumerate(sorted(masks, key=lambda m: m.sum())):
        inst[m] = i + 1
    ck.exact("regions", inst)
    after = lab.copy()
    for v in np.unique(inst)[1:]:
        after[inst == v] = np.bincount(lab[inst == v], minlength=t).argmax()
    ck.exact("after", after)
    part = np.zeros((h, w), int)
    for i, m in enumerate(sorted(masks, key=lambda m: -m.sum())):
        part[m] = i + 1
    ck.exact("small_first.regions", part)
    maj, mean = lab.copy(), lab.copy()
    for v in np.unique(part):
        if v:
            z = part == v
            maj[z] = np.bincount(lab[z], minlength=t).argmax()
            mean[z] = sm[:, z].mean(1).argmax()
    ck.exact("small_first.majority", maj)
    ck.exact("small_first.mean", mean)


def check(root, only=""):
    idx = json.load(open(os.path.join(root, "index.json")))
    total = 0
    for e in idx["fixtures"]:
        if only not in e["file"]:
            continue
        t0, ck = time.time(), Check(root, e)
        kind = e["file"].split("_")[0].split(".")[0]
        if kind in ("sc", "sc2024", "sfp"):
            calibrated(e, ck, kind == "sfp")
        else:
            {"res": resclip, "functions": functions, "freecp": freecp, "voting": voting}[kind](e, ck)
        total += ck.n
        print(f"  {e['file']}: {ck.n} outputs {time.time() - t0:.0f}s", flush=True)
    size = sum(os.path.getsize(os.path.join(root, f)) for f in os.listdir(root))
    print(f"{idx['set']}: {len(idx['fixtures'])} fixtures, {total} outputs agree, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    only = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else ""
    for root in [a for a in sys.argv[1:] if os.path.isdir(a)]:
        check(root, only)
    for (g, k), (err, rel, name) in sorted(WORST.items()):
        print(f"  {g:10s} {k:22s} max |difference| {err:.2e}, {rel:.2f} of the tolerance ({name})")
