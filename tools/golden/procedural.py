"""Procedural tensors: every weight (and every procedural input) of the golden
fixtures is a pure function of its name, so no checkpoint has to be shipped.

The exact definition is in testdata/golden/README.md ("Procedural tensors"); this
file is the executable version of it.  `python procedural.py` prints the check
vectors of the README.
"""
import math

import numpy as np

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
M1 = 0xBF58476D1CE4E5B9
M2 = 0x94D049BB133111EB


def fnv1a64(data: bytes) -> int:
    h = 0xCBF29CE484222325
    for b in data:
        h ^= b
        h = (h * 0x100000001B3) & MASK
    return h


def uniform24(name: str, n: int, start: int = 0) -> np.ndarray:
    """elements start..start+n-1 of the stream `name`: float32, exact, in [-1, 1)"""
    h = fnv1a64(name.encode("utf-8"))
    out = np.empty(n, np.float32)
    step = 1 << 18  # stays in the CPU cache
    base = np.arange(1, step + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    tmp = np.empty(step, np.uint64)
    for o in range(0, n, step):
        m = min(step, n - o)
        off = (h + (start + o) * GOLDEN) & MASK
        x = base[:m] + np.uint64(off)
        t = tmp[:m]
        np.right_shift(x, np.uint64(30), out=t); x ^= t
        x *= np.uint64(M1)
        np.right_shift(x, np.uint64(27), out=t); x ^= t
        x *= np.uint64(M2)
        np.right_shift(x, np.uint64(31), out=t); x ^= t
        x >>= np.uint64(40)
        k = x.astype(np.int64)
        k -= 1 << 23
        f = k.astype(np.float32)
        f *= np.float32(2.0 ** -23)
        out[o:o + m] = f
    return out


def tensor(name: str, shape, a: float, b: float) -> np.ndarray:
    """float32(a + float32(b*u)); two roundings, never a fused multiply-add"""
    n = int(np.prod(shape, dtype=np.int64)) if len(shape) else 1
    a32, b32 = np.float32(a), np.float32(b)
    if float(b32) == 0.0:
        v = np.full(n, a32, np.float32)
    else:
        v = uniform24(name, n)
        v *= b32
        if float(a32) != 0.0:
            v += a32
    return v.reshape(tuple(shape))


def _fan(g2, fan_in):
    return math.sqrt(3.0 * g2 / fan_in)


EMBED = (
    # suffix of the key                                       b
    ("visual.class_embedding", 1.0),
    ("visual.positional_embedding", 0.5),
    ("attnpool.positional_embedding", 1.5),
    ("positional_embedding", 0.25),
    ("token_embedding.weight", 0.5),
    ("image_encoder.pos_embed", 0.5),
    ("prompt_encoder.not_a_point_embed.weight", 1.0),
    ("prompt_encoder.no_mask_embed.weight", 1.0),
    ("mask_decoder.iou_token.weight", 1.0),
    ("mask_decoder.mask_tokens.weight", 1.0),
)


def rule(key: str, shape):
    """-> (rule id, a, b).  First match wins.  `key` is the original checkpoint
    key WITHOUT any fixture prefix."""
    nd = len(shape)
    if key.endswith("num_batches_tracked"):
        return "R01", 0.0, 0.0
    if key == "logit_scale":
        return "R02", 4.6052, 0.0
    if key.endswith("running_mean"):
        return "R03", 0.0, 0.1
    if key.endswith("running_var"):
        return "R04", 1.0, 0.5
    if key.endswith("positional_encoding_gaussian_matrix"):
        return "R05", 0.0, math.sqrt(3.0)
    if key.endswith("rel_pos_h") or key.endswith("rel_pos_w"):
        return "R06", 0.0, 0.2
    if key.endswith("attention_biases"):
        return "R07", 0.0, 0.5
    for suf, b in EMBED:
        if key.endswith(suf):
            return "R08", 0.0, b
    if ".point_embeddings." in key:
        return "R08", 0.0, 1.0
    if key.startswith("visual.layer") and key.endswith(".bn3.weight"):
        return "R09", 0.15, 0.1
    if key.startswith("visual.layer") and key.endswith(".bn3.bias"):
        return "R18", 0.0, 0.1
    if key.startswith("visual.layer") and nd == 1 and key.endswith("bias"):
        return "R19", -0.1, 0.5
    if nd == 1 and key.endswith("weight"):
        return "R10", 1.0, 0.1
    if nd == 1 and key.endswith("bias"):
        return "R11", 0.0, 0.05
    if key in ("visual.proj", "text_projection"):
        return "R12", 0.0, _fan(1.0, shape[0])
    if ".output_upscaling." in key and nd == 4:
        return "R13", 0.0, _fan(2.0, shape[0])
    if nd == 4:
        fan = shape[1] * shape[2] * shape[3]
        resnet = key.startswith("visual.") and key != "visual.conv1.weight"
        stem = key == "visual.conv1.weight" and shape[2] == 3
        if resnet or stem or key.endswith(".c.weight"):
            return "R14", 0.0, _fan(2.0, fan)
        return "R15", 0.0, _fan(1.0, fan)
    if nd == 2:
        if ".output_hypernetworks_mlps." in key or ".iou_prediction_head." in key:
            return "R16", 0.0, _fan(2.0, shape[1])
        if ".attnpool." in key and not key.endswith(".c_proj.weight"):
            return "R20", 0.0, _fan(0.5, shape[1])
        return "R17", 0.0, _fan(1.0, shape[1])
    raise KeyError(f"no rule for {key} {tuple(shape)}")


def weight(key: str, shape, prefix: str = "") -> np.ndarray:
    _, a, b = rule(key, shape)
    return tensor(prefix + key, shape, a, b)


def blocky(name, shape, cell, b_block=1.5, b_noise=0.75):
    """procedural image [..., H, W]: float32(block[..., y//cell, x//cell] + noise[..., y, x])"""
    h, w = shape[-2:]
    bh, bw = (h + cell - 1) // cell, (w + cell - 1) // cell
    blk = tensor(name + "/block", tuple(shape[:-2]) + (bh, bw), 0.0, b_block)
    blk = np.repeat(np.repeat(blk, cell, axis=-2), cell, axis=-1)[..., :h, :w]
    return blk + tensor(name, shape, 0.0, b_noise)


def u8image(name, h, w, cell, b_block=80.0, b_noise=24.0):
    """procedural RGB picture, uint8 [H, W, 3]: trunc(clamp(float32(127.5 + blocky), 0, 255))"""
    v = blocky(name, (3, h, w), cell, b_block, b_noise) + np.float32(127.5)
    v = np.clip(v, np.float32(0), np.float32(255)).astype(np.uint8)
    return np.ascontiguousarray(v.transpose(1, 2, 0))


def fill_state_dict(module, prefix: str = "", skip=()):
    """in place; `module` is a torch module whose keys are the original ones"""
    import torch
    sd = module.state_dict()
    with torch.no_grad():
        for k, t in sd.items():
            if k in skip:
                continue
            if not t.dtype.is_floating_point:
                t.zero_()
                continue
            t.copy_(torch.from_numpy(weight(k, tuple(t.shape), prefix)))
    return module


CHECK = (
    ("logit_scale", ()),
    ("visual.layer1.0.bn1.running_mean", (64,)),
    ("visual.layer1.0.bn1.running_var", (64,)),
    ("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", (2, 128)),
    ("image_encoder.blocks.0.attn.rel_pos_h", (27, 64)),
    ("image_encoder.layers.1.blocks.0.attn.attention_biases", (4, 49)),
    ("visual.class_embedding", (768,)),
    ("visual.positional_embedding", (197, 768)),
    ("visual.attnpool.positional_embedding", (50, 2048)),
    ("positional_embedding", (77, 512)),
    ("token_embedding.weight", (49408, 512)),
    ("image_encoder.pos_embed", (1, 64, 64, 768)),
    ("prompt_encoder.point_embeddings.2.weight", (1, 256)),
    ("mask_decoder.mask_tokens.weight", (4, 256)),
    ("visual.layer1.0.bn3.weight", (256,)),
    ("visual.layer1.0.bn3.bias", (256,)),
    ("visual.layer1.0.downsample.1.bias", (256,)),
    ("visual.attnpool.q_proj.weight", (2048, 2048)),
    ("visual.attnpool.c_proj.weight", (1024, 2048)),
    ("visual.ln_post.weight", (768,)),
    ("visual.ln_post.bias", (768,)),
    ("visual.transformer.resblocks.0.attn.in_proj_bias", (2304,)),
    ("visual.proj", (768, 512)),
    ("text_projection", (512, 512)),
    ("mask_decoder.output_upscaling.0.weight", (256, 64, 2, 2)),
    ("visual.layer2.0.conv2.weight", (128, 128, 3, 3)),
    ("visual.conv1.weight", (32, 3, 3, 3)),
    ("image_encoder.patch_embed.seq.0.c.weight", (32, 3, 3, 3)),
    ("visual.conv1.weight", (768, 3, 16, 16)),
    ("image_encoder.neck.2.weight", (256, 256, 3, 3)),
    ("mask_decoder.iou_prediction_head.layers.0.weight", (256, 256)),
    ("visual.transformer.resblocks.0.attn.out_proj.weight", (768, 768)),
    ("image_encoder.blocks.0.attn.proj.weight", (768, 768)),
    ("visual.transformer.resblocks.0.attn.in_proj_weight", (2304, 768)),
    ("image_encoder.blocks.0.attn.qkv.weight", (2304, 768)),
)


def check_table():
    rows = []
    for key, shape in CHECK:
        rid, a, b = rule(key, shape)
        n = int(np.prod(shape)) if shape else 1
        idx = sorted({0, 1, 2, n // 2, n - 1} & set(range(n)))
        v = weight(key, shape).reshape(-1)
        rows.append((rid, key, shape, np.float32(a), np.float32(b), [(i, v[i]) for i in idx]))
    return rows


if __name__ == "__main__":
    for rid, key, shape, a, b, vals in check_table():
        print(rid, key, list(shape), f"a={a!r} b={b!r}", " ".join(
            f"[{i}]={float(v):.9g}(0x{np.asarray(v).view(np.uint32):08x})" for i, v in vals))
