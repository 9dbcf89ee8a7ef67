"""Writes what OpenCLIP computes with procedural weights, for the published sizes that the fixtures leave out.

The weights and the picture are those of the fixtures (testdata/golden, "Procedural tensors"), made from their names,
so that the file holds a few numbers per model. TestPublished of package vit reads them.

    python published.py [--out ../../vit/testdata/published.json] [--only RN101]
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import QuickGELU, VisionTransformer
from torch import Tensor, nn

# name: embedding, stages, width, sides of the pictures: the model's own and another
SIZES = {
    "RN50": (1024, (3, 4, 6, 3), 64, (224, 160)),
    "RN101": (512, (3, 4, 23, 3), 64, (224, 288)),
    "RN50x4": (640, (4, 6, 10, 6), 80, (288, 192)),
    "RN50x16": (768, (6, 8, 18, 8), 96, (384, 224)),
    "RN50x64": (1024, (3, 15, 36, 10), 128, (448, 256)),
}
# name: embedding, layers, width, heads, patch, sides of the pictures
VITS = {
    "ViT-L/14@336": (768, 24, 1024, 16, 14, (336, 224)),
}
VALUES = 80  # per output


def uniform(name: str, shape: tuple[int, ...], a: float, b: float) -> np.ndarray:
    h = np.uint64(0xCBF29CE484222325)
    with np.errstate(over="ignore"):
        for byte in name.encode():
            h = (h ^ np.uint64(byte)) * np.uint64(0x100000001B3)
        x = h + np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x ^= x >> np.uint64(30)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x *= np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    u = ((x >> np.uint64(40)).astype(np.int64) - (1 << 23)).astype(np.float32) * np.float32(2.0**-23)
    return (np.float32(a) + np.float32(b) * u).reshape(shape)


def weight(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The fixtures' rules R01–R20, as far as they concern an image tower."""
    def fan(g: float, n: int) -> float:
        return math.sqrt(3 * g / n)
    layer = key.startswith("visual.layer")
    if key.endswith("running_mean"):
        a, b = 0, 0.1
    elif key.endswith("running_var"):
        a, b = 1, 0.5
    elif key.endswith("class_embedding"):
        a, b = 0, 1
    elif key.endswith("positional_embedding"):
        a, b = 0, 1.5 if ".attnpool." in key else 0.5
    elif layer and key.endswith("bn3.weight"):
        a, b = 0.15, 0.1
    elif layer and key.endswith("bn3.bias"):
        a, b = 0, 0.1
    elif layer and len(shape) == 1 and key.endswith("bias"):
        a, b = -0.1, 0.5
    elif len(shape) == 1 and key.endswith("weight"):
        a, b = 1, 0.1
    elif len(shape) == 1:
        a, b = 0, 0.05
    elif key == "visual.proj":
        a, b = 0, fan(1, shape[0])
    elif len(shape) == 4:
        a, b = 0, fan(1 if key == "visual.conv1.weight" and shape[2] != 3 else 2, math.prod(shape[1:]))
    else:
        a, b = 0, fan(0.5 if ".attnpool." in key and ".c_proj." not in key else 1, shape[1])
    return uniform(key, shape, a, b)


def picture(side: int, cell: int = 32) -> Tensor:
    name, n = "input/image", -(-side // cell)
    block = uniform(name + "/block", (3, n, n), 0, 1.5).repeat(cell, 1).repeat(cell, 2)[:, :side, :side]
    return torch.from_numpy(block + uniform(name, (3, side, side), 0, 0.75))[None]


def resized(table: Tensor, h: int, w: int) -> Tensor:
    """Positions of a grid of h×w, the class row's first."""
    native = math.isqrt(len(table) - 1)
    if (h, w) == (native, native):
        return table
    grid = table[1:].reshape(1, native, native, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(h, w), mode="bilinear", align_corners=False)
    return torch.cat([table[:1], grid.flatten(2)[0].T])


def resnet_rows(m: ModifiedResNet, x: Tensor, surgery: bool) -> Tensor:
    """Every row of the attention pool."""
    pool, x = m.attnpool, m.layer4(m.layer3(m.layer2(m.layer1(m.stem(x)))))
    table = resized(pool.positional_embedding, *x.shape[2:])
    x = x.flatten(2).permute(2, 0, 1)
    x = torch.cat([x.mean(0, keepdim=True), x]) + table[:, None]
    q, k = (pool.v_proj, pool.v_proj) if surgery else (pool.q_proj, pool.k_proj)
    y, _ = F.multi_head_attention_forward(
        x, x, x, x.shape[-1], pool.num_heads, None, torch.cat([q.bias, k.bias, pool.v_proj.bias]), None, None, False, 0,
        pool.c_proj.weight, pool.c_proj.bias, use_separate_proj_weight=True, training=False, need_weights=False,
        q_proj_weight=q.weight, k_proj_weight=k.weight, v_proj_weight=pool.v_proj.weight)
    return y[:, 0]


def vit_rows(m: VisionTransformer, x: Tensor, surgery: bool) -> Tensor:
    """Every row, under surgery patches from the second stream of the last six blocks."""
    x = m.conv1(x)
    table = resized(m.positional_embedding, *x.shape[2:])
    x = m.ln_pre(torch.cat([m.class_embedding[None], x.flatten(2)[0].T]) + table)
    new, blocks = x, m.transformer.resblocks
    for i, block in enumerate(blocks):
        a, h = block.attn, block.ln_1(x)
        q, k, v = F.linear(h, a.in_proj_weight, a.in_proj_bias).view(len(h), 3, a.num_heads, -1).permute(1, 2, 0, 3)
        attend = lambda q, k: a.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(0, 1).flatten(1))
        if i >= len(blocks) - 6:
            new = new + attend(v, v)
        x = x + attend(q, k)
        x = x + block.mlp(block.ln_2(x))
        if i < len(blocks) - 6:
            new = x
    return m.ln_post(torch.cat([x[:1], new[1:]]) if surgery else x) @ m.proj


def models(only: str):
    """Names, modules, their sides and what gives all rows."""
    for name, (embed, stages, width, sides) in SIZES.items():
        if only in ("", name):
            yield name, ModifiedResNet(stages, embed, width // 2, image_size=sides[0], width=width), sides, resnet_rows
    for name, (embed, layers, width, heads, patch, sides) in VITS.items():
        if only in ("", name):
            yield name, VisionTransformer(sides[0], patch, width, layers, heads, 4, output_dim=embed, act_layer=QuickGELU), sides, vit_rows


def procedural(m: nn.Module) -> nn.Module:
    for key, value in m.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.from_numpy(weight("visual." + key, tuple(value.shape))))
    return m.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "vit" / "testdata" / "published.json")
    parser.add_argument("--only", default="", help="name of one model")
    args = parser.parse_args()
    results = []
    with torch.inference_mode():
        for name, model, sides, rows in models(args.only):
            procedural(model)
            for side in sides:
                x = picture(side)
                plain = rows(model, x, False)
                if side == sides[0]:  # the model's own path gives the class row
                    torch.testing.assert_close(plain[0], model(x)[0], rtol=0, atol=2e-5)
                for plan, out in (("plain", plain), ("surgery", rows(model, x, True))):
                    flat = out.flatten()
                    stride = len(flat) // VALUES | 1  # odd: every column's turn comes
                    results.append({"model": name, "side": side, "plan": plan, "shape": list(out.shape), "stride": stride,
                                    "rms": float(flat.double().square().mean().sqrt()), "values": [float(f"{v:.9g}") for v in flat[::stride].tolist()]})
                    print(name, side, plan, list(out.shape), f"rms {results[-1]['rms']:.4f}", flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    text = ",\n".join(json.dumps(r) for r in results)
    args.out.write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main()
