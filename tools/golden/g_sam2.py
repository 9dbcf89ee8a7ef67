#!/usr/bin/env python
"""group sam2: the SAM 2 / SAM 2.1 image model (no video memory)

  python g_sam2.py --ref ../ref --out ../../testdata/golden/sam2 --set open [--only tiny+t+s+b++l+pre+pos+dyn+post+amg+formats]
  python g_sam2.py --ref ../ref --out ../../second/sam2   --set second
  python g_sam2.py --verify ../../testdata/golden/sam2 ../../second/sam2 [--only t]

--ref: a directory with a check-out named, or ending in, `sam2` (facebookresearch/sam2).
Packages: torch, torchvision, transformers, hydra-core, iopath, safetensors, opencv-python-headless, pycocotools, numpy.
--verify needs numpy and safetensors only: it computes the whole model again, in float64 numpy, from
the description of SAM 2 (docs/reference/sam2.md) and the procedural weights, and compares every stored value.
"""
import argparse
import json
import math
import os
import shutil
import sys
import time

import numpy as np

import procedural as P

S2 = "facebookresearch/sam2 sam2/"
IMAGE_KEYS = ("image_encoder.", "sam_prompt_encoder.", "sam_mask_decoder.")

# --------------------------------------------------------------------- weights


def rule2(key, shape):
    """the rules of SAM 2's own tensors come first, then those of procedural.py"""
    if key.endswith("trunk.pos_embed") or key.endswith("trunk.pos_embed_window"):
        return "S01", 0.0, 0.5
    if key == "no_mem_embed":
        return "S02", 0.0, 0.5
    if key.endswith("mask_decoder.obj_score_token.weight"):
        return "S03", 0.0, 1.0
    if ".pred_obj_score_head." in key and len(shape) == 2:
        return "S04", 0.0, math.sqrt(3.0 * 2.0 / shape[1])
    return P.rule(key, shape)


def weight2(key, shape, prefix=""):
    _, a, b = rule2(key, shape)
    return P.tensor(prefix + key, shape, a, b)


def is_image_key(k):
    return k.startswith(IMAGE_KEYS) or k == "no_mem_embed"


CHECK2 = (("image_encoder.trunk.pos_embed", (1, 96, 7, 7)), ("image_encoder.trunk.pos_embed_window", (1, 96, 8, 8)),
          ("no_mem_embed", (1, 1, 256)), ("sam_mask_decoder.obj_score_token.weight", (1, 256)),
          ("sam_mask_decoder.pred_obj_score_head.layers.0.weight", (256, 256)),
          ("image_encoder.trunk.patch_embed.proj.weight", (96, 3, 7, 7)), ("image_encoder.trunk.blocks.1.proj.weight", (192, 96)),
          ("image_encoder.trunk.blocks.0.mlp.layers.0.weight", (384, 96)), ("image_encoder.trunk.blocks.0.norm1.weight", (96,)),
          ("image_encoder.neck.convs.0.conv.weight", (256, 768, 1, 1)), ("sam_mask_decoder.conv_s0.weight", (32, 256, 1, 1)),
          ("sam_mask_decoder.output_upscaling.0.weight", (256, 64, 2, 2)),
          ("sam_mask_decoder.iou_prediction_head.layers.2.weight", (4, 256)),
          ("sam_prompt_encoder.point_embeddings.2.weight", (1, 256)), ("sam_prompt_encoder.no_mask_embed.weight", (1, 256)))

# --------------------------------------------------------------- architectures
# d_model, image_size, embed_dim, num_heads, stages, global_att_blocks, window_spec, window_pos_embed_bkg_spatial_size
TINY = dict(image_size=128, embed_dim=16, num_heads=1, stages=[1, 2, 4, 2], global_att_blocks=[4, 6], window_spec=[8, 4, 6, 3],
            window_pos_embed_bkg_spatial_size=[5, 5], d_model=64)
TINYH = dict(image_size=192, embed_dim=24, num_heads=2, stages=[2, 1, 3, 2], global_att_blocks=[4], window_spec=[8, 4, 10, 5],
             window_pos_embed_bkg_spatial_size=[7, 7], d_model=96)
AMGC = dict(TINY, image_size=256)
FORMAT = dict(image_size=128, embed_dim=8, num_heads=1, stages=[1, 1, 2, 1], global_att_blocks=[3], window_spec=[8, 4, 6, 3],
              window_pos_embed_bkg_spatial_size=[5, 5], d_model=32)
REAL = {
    "t": dict(image_size=1024, embed_dim=96, num_heads=1, stages=[1, 2, 7, 2], global_att_blocks=[5, 7, 9], window_spec=[8, 4, 14, 7],
              window_pos_embed_bkg_spatial_size=[7, 7], d_model=256),
    "s": dict(image_size=1024, embed_dim=96, num_heads=1, stages=[1, 2, 11, 2], global_att_blocks=[7, 10, 13], window_spec=[8, 4, 14, 7],
              window_pos_embed_bkg_spatial_size=[7, 7], d_model=256),
    "b+": dict(image_size=1024, embed_dim=112, num_heads=2, stages=[2, 3, 16, 3], global_att_blocks=[12, 16, 20], window_spec=[8, 4, 14, 7],
               window_pos_embed_bkg_spatial_size=[14, 14], d_model=256),
    "l": dict(image_size=1024, embed_dim=144, num_heads=2, stages=[2, 6, 36, 4], global_att_blocks=[23, 33, 43], window_spec=[8, 4, 16, 8],
              window_pos_embed_bkg_spatial_size=[7, 7], d_model=256),
}
DEC = dict(decoder_depth=2, decoder_heads=8, decoder_mlp=2048, iou_head_depth=3, iou_head_hidden=256, mask_in_chans=16, dim_mul=2.0, head_mul=2.0,
           mlp_ratio=4.0, q_pool=3, q_stride=[2, 2], fpn_top_down_levels=[2, 3], fpn_interp="nearest", scalp=1, dynamic_multimask_via_stability=True,
           dynamic_multimask_stability_delta=0.05, dynamic_multimask_stability_thresh=0.98)


def arch2(name, cfg):
    return dict(cfg, name=name, **DEC)


def apply_overrides2(get, ovr):
    """get(key) -> array or tensor that is changed in place"""
    for o in ovr:
        t = get(o["key"])
        if o["op"] == "fill":
            t[...] = o["value"]
        elif o["op"] == "scale":
            t *= o["value"]
        elif o["op"] == "tie_taps":
            c = t[:, :, :1, :1]
            t[...] = c.clone() if hasattr(c, "clone") else c.copy()
        else:
            t[tuple(slice(None) if i is None else i for i in o["index"])] = o["value"]


def build_parts(cfg, memory=None):
    """SAM2Base from the reference's classes, as its yaml files do; memory: None or a dict of small sizes"""
    import torch
    from sam2.modeling.backbones.hieradet import Hiera
    from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
    from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
    from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
    from sam2.modeling.position_encoding import PositionEmbeddingSine
    from sam2.modeling.sam2_base import SAM2Base
    from sam2.modeling.sam.transformer import RoPEAttention
    e, d = cfg["embed_dim"], cfg["d_model"]
    trunk = Hiera(embed_dim=e, num_heads=cfg["num_heads"], stages=tuple(cfg["stages"]), global_att_blocks=tuple(cfg["global_att_blocks"]),
                  window_spec=tuple(cfg["window_spec"]), window_pos_embed_bkg_spatial_size=tuple(cfg["window_pos_embed_bkg_spatial_size"]))
    sine = lambda n: PositionEmbeddingSine(num_pos_feats=n, normalize=True, scale=None, temperature=10000)
    neck = FpnNeck(position_encoding=sine(d), d_model=d, backbone_channel_list=[8 * e, 4 * e, 2 * e, e], fpn_top_down_levels=[2, 3],
                   fpn_interp_model="nearest")
    if memory:
        ra = lambda **k: RoPEAttention(rope_theta=10000.0, feat_sizes=(cfg["image_size"] // 16,) * 2, embedding_dim=d, num_heads=1, downsample_rate=1, dropout=0.1, **k)
        mod = memory["mem_dim"]
        ma = MemoryAttention(d_model=d, pos_enc_at_input=True, num_layers=memory["layers"], layer=MemoryAttentionLayer(
            activation="relu", dim_feedforward=memory["ff"], dropout=0.1, pos_enc_at_attn=False, self_attention=ra(), d_model=d,
            pos_enc_at_cross_attn_keys=True, pos_enc_at_cross_attn_queries=False, cross_attention=ra(rope_k_repeat=True, kv_in_dim=mod)))
        me = MemoryEncoder(out_dim=mod, in_dim=d, position_encoding=sine(mod), mask_downsampler=MaskDownSampler(embed_dim=d, kernel_size=3, stride=2, padding=1),
                           fuser=Fuser(CXBlock(dim=d, kernel_size=7, padding=3, layer_scale_init_value=1e-6, use_dwconv=True), num_layers=2))
    else:
        ma, me = torch.nn.Identity(), torch.nn.Identity()
    dyn = {k: v for k, v in DEC.items() if k.startswith("dynamic_")}
    return SAM2Base(image_encoder=ImageEncoder(trunk, neck, scalp=1), memory_attention=ma, memory_encoder=me, num_maskmem=7, image_size=cfg["image_size"],
                    directly_add_no_mem_embed=True, no_obj_embed_spatial=bool(memory), use_high_res_features_in_sam=True, multimask_output_in_sam=True,
                    iou_prediction_use_sigmoid=True, use_obj_ptrs_in_encoder=True, add_tpos_enc_to_obj_ptrs=True, proj_tpos_enc_in_obj_ptrs=bool(memory),
                    use_signed_tpos_enc_to_obj_ptrs=True, only_obj_ptrs_in_the_past_for_eval=True, pred_obj_scores=True, pred_obj_scores_mlp=True,
                    fixed_no_obj_ptr=True, multimask_output_for_tracking=True, use_multimask_token_for_obj_ptr=True, multimask_min_pt_num=0,
                    multimask_max_pt_num=1, use_mlp_for_obj_ptr_proj=True, sam_mask_decoder_extra_args=dyn).eval()


def fill2(m, prefix, ovr=()):
    import torch
    sd = m.state_dict()
    with torch.no_grad():
        for k, t in sd.items():
            if is_image_key(k):
                t.copy_(torch.from_numpy(weight2(k, tuple(t.shape), prefix)))
        apply_overrides2(lambda k: sd[k], ovr)
    for p in m.parameters():
        p.requires_grad_(False)
    return m


def build_real(name):
    """by the reference's own builder; 2.0's and 2.1's image models are the same function"""
    from sam2.build_sam import build_sam2
    return build_sam2(f"configs/sam2.1/sam2.1_hiera_{name}.yaml", None, device="cpu")


def predictor(m, **kw):
    from sam2.sam2_image_predictor import SAM2ImagePredictor
    return fit(SAM2ImagePredictor(m, **kw))


def fit(pr):
    """the reference has the feature sizes of a 1024 input as constants"""
    g = pr.model.image_size // 16
    pr._bb_feat_sizes = [(4 * g, 4 * g), (2 * g, 2 * g), (g, g)]
    return pr


def fx2(st, name, **kw):
    from common import Fixture
    f = Fixture(st, "sam2", name, **kw)
    f.file = f"{name}.safetensors"
    return f


def picture2(fx, key, h, w, cell):
    from g_sam import picture
    return picture(fx, key, h, w, cell)


# --------------------------------------------------------------------- prompts


def prompts2(h, w, alt=0):
    s = 0.9 if alt else 1.0
    P1 = [round(w * 0.45 * s), round(h * 0.55 * s)]
    P2 = [round(w * 0.8 * s), round(h * 0.25 * s)]
    P3 = [round(w * 0.1), round(h * 0.9 * s)]
    B = [round(w * 0.12), round(h * 0.2 * s), round(w * 0.71 * s), round(h * 0.83)]
    return {
        "point_multi": {"points": [P1], "labels": [1], "multimask": True},
        "point_single": {"points": [P1], "labels": [1], "multimask": False},
        "points_neg": {"points": [P1, P2, P3], "labels": [1, 1, 0], "multimask": True},
        "box": {"box": B, "multimask": False},
        "box_multi": {"box": B, "multimask": True},
        "box_points": {"box": B, "points": [P1, P3], "labels": [1, 0], "multimask": False},
        "mask_point": {"points": [P2], "labels": [1], "mask_input": "procedural", "multimask": False},
        "refine": {"points": [P1, P3], "labels": [1, 0], "mask_input": "previous", "multimask": False},
        "mask_only": {"mask_input": "procedural", "multimask": True},
        "float_points": {"points": [[P1[0] + 0.37, P1[1] + 0.81], [0.0, 0.0]], "labels": [0, 1], "multimask": True},
        "label_minus1": {"points": [P2, P1], "labels": [-1, 1], "multimask": True},
        "no_prompt": {"multimask": True},
    }


ALL = ["point_multi", "refine", "points_neg", "point_single", "box", "box_points", "mask_point", "mask_only", "float_points", "label_minus1", "no_prompt", "box_multi"]


def pick2(h, w, names, alt=0):
    d = prompts2(h, w, alt)
    return [dict(d[n], name=n) for n in names]


# ------------------------------------------------------------------------ runs


def enc_hooks(m, got, deep):
    e = m.image_encoder
    reg = []
    h = lambda name: (lambda _m, i, o: got.__setitem__(name, o.detach().clone()))
    hin = lambda name: (lambda _m, i, o: got.__setitem__(name, i[0].detach().clone()))
    reg.append(e.trunk.patch_embed.register_forward_hook(h("trunk.patch_embed")))
    for i, b in enumerate(e.trunk.blocks):
        reg.append(b.register_forward_hook(h(f"trunk.block{i}")))
        if i in deep:
            reg.append(b.norm1.register_forward_hook(h(f"trunk.block{i}.norm1")))
            reg.append(b.attn.register_forward_hook(hin(f"trunk.block{i}.attn_in")))
            reg.append(b.attn.register_forward_hook(h(f"trunk.block{i}.attn_out")))

    def fpn(_m, i, o):
        for k, x in enumerate(o[0]):
            got[f"fpn{k}"] = x.detach().clone()
    reg.append(e.neck.register_forward_hook(fpn))
    return reg


def dec_hooks(m, got, deep):
    reg = []
    d = m.sam_mask_decoder

    def h(name):
        def f(_m, i, o):
            if isinstance(o, tuple):
                for k, x in zip(("queries", "keys"), o):
                    got[f"{name}.{k}"] = x.detach().clone()
            else:
                got[name] = o.detach().clone()
        return f
    for i, l in enumerate(d.transformer.layers):
        reg.append(l.register_forward_hook(h(f"dec.layer{i}")))
    if deep:
        reg.append(d.transformer.layers[0].self_attn.register_forward_hook(h("dec.layer0.self_attn")))
        reg.append(d.transformer.layers[0].cross_attn_token_to_image.register_forward_hook(h("dec.layer0.token_to_image")))
    reg.append(d.transformer.register_forward_hook(h("dec.transformer")))
    for i, n in ((0, "dec.deconv0"), (1, "dec.norm_after_s1"), (3, "dec.deconv1"), (4, "dec.upscaled")):
        reg.append(d.output_upscaling[i].register_forward_hook(h(n)))
    for i, l in enumerate(d.output_hypernetworks_mlps):
        reg.append(l.register_forward_hook(h(f"dec.hyper{i}")))
    return reg


class Capture:
    """the four masks, the four scores and the object score that predict_masks made"""

    def __init__(self, dec):
        self.dec, self.f, self.last, self.args = dec, dec.predict_masks, None, None

        def g(*a, **k):
            self.args = k
            self.last = self.f(*a, **k)
            return self.last
        dec.predict_masks = g

    def close(self):
        self.dec.predict_masks = self.f


def store_mask(fx, name, bits, lg, limit=120000):
    from g_sam import rle_counts
    c = rle_counts(bits)
    if min(c.size * 4, bits.size // 8) > limit // 8:
        c = np.zeros(bits.size, np.int32)
    d = {"area": int(bits.sum()), "hw": list(bits.shape),
         "tolerance": {"mask_iou_min": 0.999, "pixels_with_logit_within_1e-3_std_of_0": int((np.abs(lg) < 1e-3 * lg.std()).sum())}}
    if c.size * 4 <= (bits.size + 7) // 8:
        fx.t[f"out.{name}.rle"] = c
        fx.outputs[f"{name}.rle"] = dict(d, shape=[int(c.size)], stored="full", note="column-major run lengths, first run = zeros")
    elif bits.size <= limit:
        fx.t[f"out.{name}.bits"] = np.packbits(bits.reshape(-1))
        fx.outputs[f"{name}.bits"] = dict(d, shape=[(bits.size + 7) // 8], stored="full", note="row-major bits, 8 per byte, most significant bit first")
    else:
        fx.outputs[f"{name}.area"] = dict(d, stored="none", note="area only")


def sub(n, want):
    """an odd stride that leaves about `want` of n elements"""
    return 1 if n <= want * 1.5 else max(1, n // want) | 1


def run2(st, name, m, cfg, tag, hw, cell, prompts, deep=(), f64=False, ovr=(), want=None, ref=None):
    import torch
    from common import free, rel_tol, rms
    with torch.no_grad():
        t0 = time.time()
        tiny = cfg["image_size"] < 1024
        safe = name.replace("+", "plus")
        fx = fx2(st, f"{safe}_{tag}", reference=ref or (S2 + "sam2_image_predictor.py:SAM2ImagePredictor.set_image/predict"), architecture=arch2(name, cfg),
                 weights={"procedural": True, "prefix": st.prefix, **({"overrides": list(ovr)} if ovr else {})},
                 description=f"picture {hw[0]}x{hw[1]} (HxW); set_image, then the prompts of inputs.prompts; prompt k gives pK.*")
        img = picture2(fx, f"input/sam2/{tag}", hw[0], hw[1], cell)
        pr = predictor(m)
        got = {}
        reg = enc_hooks(m, got, deep)
        pr.set_image(img)
        for r in reg:
            r.remove()
        t1 = time.time()
        fx.value("original_hw", list(hw))
        x = pr._transforms(img)[None]
        fx.output("preprocessed", x, stride=sub(x.numel(), 6000 if deep else 2000), tol={"abs": 3e-6}, note="[1,3,S,S]")
        gw = m.image_size // 4
        pos = m.image_encoder.trunk._get_pos_embed((gw, gw))
        fx.output("pos_embed", pos, stride=sub(pos.numel(), 4000 if deep else 2000), tol={"abs": 2e-6}, note="[1,S/4,S/4,C]")
        f = pr._features
        noise = {}
        if f64:
            m.double()
            o = m.forward_image(x.double())
            fpn = o["backbone_fpn"]
            f6 = {"image_embed": fpn[2] + m.no_mem_embed.reshape(1, -1, 1, 1), "high_res_feats": fpn[:2]}
            noise["image_embedding"] = float((f6["image_embed"] - f["image_embed"].double()).abs().max())
            for k in (0, 1):
                noise[f"high_res{k}"] = float((f6["high_res_feats"][k] - f["high_res_feats"][k].double()).abs().max())
            m.float()
            del o, fpn
        for k, v in got.items():
            n = v.numel()
            fx.output(k, v, stride=1 if (deep and n < (17000 if st.name == "open" else 8000)) else sub(n, 4000 if deep else 800 if tiny else 400), tol=rel_tol(rms(v)),
                      note="NHWC" if k.startswith("trunk") else "NCHW, level 0 = finest; level 3 is dropped (scalp) after feeding level 2")

        def tol(nm, v, base):
            t = rel_tol(rms(v), noise.get(nm), base)
            if nm in noise:
                t["reference_f32_vs_f64_max_abs"] = float(f"{noise[nm]:.3g}")
            return t
        del got
        emb = f["image_embed"]
        fx.output("image_embedding", emb, stride=1 if (tiny and deep) else sub(emb.numel(), 1500 if tiny else 8000), tol=tol("image_embedding", emb, 2e-4),
                  note="[1,C,S/16,S/16] = fpn2 + no_mem_embed")
        for k in (0, 1):
            v = f["high_res_feats"][k]
            fx.output(f"high_res{k}", v, stride=sub(v.numel(), 8000 if deep else 1000 if tiny else 2500), tol=tol(f"high_res{k}", v, 2e-4), note=f"conv_s{k}(fpn{k})")
        if deep or not tiny:
            pe = m.sam_prompt_encoder.get_dense_pe()
            fx.output("dense_pe", pe, stride=sub(pe.numel(), 2500), tol={"abs": 2e-5}, note="[1,C,h,w]")
        fx.value("prompts", prompts)
        prev = None
        for k, p in enumerate(prompts):
            a = {}
            if "points" in p:
                a["point_coords"] = np.array(p["points"], np.float64)
                a["point_labels"] = np.array(p["labels"], np.int64)
            if "box" in p:
                a["box"] = np.array(p["box"], np.float64)
            if p.get("mask_input") == "previous":
                j = int(np.argmax(prev[1]))
                a["mask_input"] = prev[0][j:j + 1]
                p["mask_input"] = {"previous": k - 1, "mask": j, "note": "clamped low-res logits of the previous prompt's mask of the highest iou"}
            elif p.get("mask_input"):
                ms = m.sam_prompt_encoder.mask_input_size
                mname = st.prefix + f"input/sam2/{tag}/mask{k}"
                mi = P.blocky(mname, (1,) + tuple(ms), ms[0] // 8, 6.0, 1.0)
                p["mask_input"] = {"procedural": {"formula": "blocky", "name": mname, "shape": [1] + list(ms), "cell": ms[0] // 8, "b_block": 6.0, "b_noise": 1.0}}
                a["mask_input"] = mi
            dgot = {}
            reg = dec_hooks(m, dgot, bool(deep)) if (k < (2 if deep and st.name == "open" else 1)) else []
            pg = {}
            r0 = m.sam_prompt_encoder.register_forward_hook(lambda _m, i, o: pg.update(sparse=o[0].clone(), dense=o[1].clone()))
            cap = Capture(m.sam_mask_decoder)
            masks, iou, low = pr.predict(multimask_output=p["multimask"], return_logits=True, **a)
            cap.close()
            r0.remove()
            for r in reg:
                r.remove()
            prev = (low, iou)
            am, ai, _, ao = cap.last
            fx.output(f"p{k}.sparse", pg["sparse"], tol={"abs": 5e-5}, note="[1,N,C]: box corners, points, not-a-point (N = 0 without points and box)")
            if "mask_input" in a:
                fx.output(f"p{k}.dense", pg["dense"], stride=1 if deep else sub(pg["dense"].numel(), 1500), tol=rel_tol(rms(pg["dense"])), note="[1,C,h,w]")
            for kk, v in dgot.items():
                n = v.numel()
                fx.output(f"p{k}.{kk}", v, stride=1 if (deep and n < (20000 if k == 0 and st.name == "open" else 2000)) else sub(n, 2000 if deep else 600), tol=rel_tol(rms(v), base=5e-4))
            if f64 and k < 3:
                m.sam_mask_decoder.double()
                rr = cap.f(image_embeddings=f6["image_embed"], image_pe=m.sam_prompt_encoder.get_dense_pe().double(), sparse_prompt_embeddings=pg["sparse"].double(),
                           dense_prompt_embeddings=pg["dense"].double(), repeat_image=False, high_res_features=f6["high_res_feats"])
                m.sam_mask_decoder.float()
                noise[f"p{k}.all_low_res"] = float((rr[0] - am.double()).abs().max())
                noise[f"p{k}.all_iou"] = float((rr[1] - ai.double()).abs().max())
            fx.output(f"p{k}.all_low_res", am, stride=1 if deep else sub(am.numel(), 1200 if tiny else 6000), tol=tol(f"p{k}.all_low_res", am, 1e-3),
                      note="[1,4,4h,4w] before selection and clamping")
            t = {"abs": 3e-4}
            if f"p{k}.all_iou" in noise:
                t["reference_f32_vs_f64_max_abs"] = float(f"{noise[f'p{k}.all_iou']:.3g}")
            fx.output(f"p{k}.all_iou", ai, tol=t, note="[1,4] after the sigmoid")
            fx.output(f"p{k}.object_score", ao, tol={"abs": 2e-3}, note="[1,1] logit; the image predictor ignores it")
            if not p["multimask"]:
                sc = float(m.sam_mask_decoder._get_stability_scores(am[:, :1])[0, 0])
                stable = sc >= 0.98
                fx.outputs[f"p{k}.stability"] = {"value": sc, "stable": bool(stable), "chosen": 0 if stable else 1 + int(ai[0, 1:].argmax()), "stored": "none",
                                                 "note": "stability of mask 0 with delta 0.05; below 0.98 the best of masks 1..3 is returned"}
            fx.output(f"p{k}.low_res_logits", low, stride=1 if deep else sub(low.size, 400 if tiny else 1500), tol=rel_tol(rms(am), base=1e-3),
                      note="[M,4h,4w] as predict returns them: clamped to -32..32")
            fx.output(f"p{k}.iou", iou, tol={"abs": 3e-4}, note="[M]")
            fx.output(f"p{k}.logits", masks, stride=sub(masks.size, 800 if tiny else 2000), tol=rel_tol(rms(torch.from_numpy(masks)), base=1e-3), note="[M,H,W], from the unclamped logits")
            bits = masks > 0
            for j in range(bits.shape[0]):
                if j == 0 or tiny:
                    store_mask(fx, f"p{k}.mask{j}", bits[j], masks[j])
            fr = [round(float(b.mean()), 3) for b in bits]
            assert all(0.003 < v < 0.997 for v in fr), (p["name"], fr)
            print(f"    {p['name']:13s} iou {np.round(ai.numpy()[0], 3)} obj {float(ao):.2f} positive {fr} max {float(am.abs().max()):.1f} "
                  + (f"stability {sc:.4f}" if not p["multimask"] else ""), flush=True)
        fx.save()
        print(f"    enc {t1 - t0:.1f}s total {time.time() - t0:.1f}s noise {noise} emb rms {rms(emb):.3f}", flush=True)
        free()


def batch2(st, m, name, cfg):
    import torch
    from common import rel_tol, rms
    with torch.no_grad():
        fx = fx2(st, f"{name}_batch_prompts", reference=S2 + "sam2_image_predictor.py:SAM2ImagePredictor.predict", architecture=arch2(name, cfg),
                 weights={"procedural": True, "prefix": st.prefix},
                 description="batched prompts in pixels of the picture: points [B,N,2] + labels [B,N]; boxes [B,4]; masks [B,1,h,w]; points outside the picture; "
                             "normalize_coords=False (points in 0..1). In a case `points` means inputs.points times or as given, see inputs.cases")
        h, w = (100, 160) if st.name == "open" else (190, 90)
        img = picture2(fx, "input/sam2/batch", h, w, 32)
        pr = predictor(m)
        pr.set_image(img)
        pts = np.array([[[30.0, 40.0], [120.0, 10.5]], [[80.0, 64.0], [5.0, 90.0]], [[150.25, 99.0], [60.0, 50.0]]]) * np.array([w / 160, h / 100])
        lab = np.array([[1, 0], [1, 1], [0, 1]])
        box = np.array([[10.0, 20.0, 80.0, 75.0], [0.0, 0.0, 159.0, 99.0], [60.5, 70.25, 61.5, 71.25]]) * np.array([w / 160, h / 100] * 2)
        far = np.array([[-50.0, 400.0]])
        unit = np.array([[[0.25, 0.5]], [[0.75, 0.125]]])
        ms = m.sam_prompt_encoder.mask_input_size
        mname = st.prefix + "input/sam2/batch/mask"
        mi = P.blocky(mname, (3, 1) + tuple(ms), ms[0] // 8, 6.0, 1.0)
        fx.inputs["masks"] = {"procedural": {"formula": "blocky", "name": mname, "shape": [3, 1] + list(ms), "cell": ms[0] // 8, "b_block": 6.0, "b_noise": 1.0}}
        for n, v in (("points", pts), ("boxes", box), ("outside", far), ("unit", unit)):
            fx.input(n, v)
        fx.input("labels", lab)
        one = np.ones(1, np.int64)
        cases = {"points": dict(point_coords="points", point_labels="labels", multimask_output=True),
                 "points_single": dict(point_coords="points", point_labels="labels", multimask_output=False),
                 "boxes": dict(box="boxes", multimask_output=False), "boxes_multi": dict(box="boxes", multimask_output=True),
                 "points_boxes": dict(point_coords="points", point_labels="labels", box="boxes", multimask_output=True),
                 "points_masks": dict(point_coords="points", point_labels="labels", mask_input="masks", multimask_output=False),
                 "outside": dict(point_coords="outside", point_labels=[1], multimask_output=True),
                 "unit": dict(point_coords="unit", point_labels=[[1], [1]], multimask_output=True, normalize_coords=False)}
        fx.value("cases", cases)
        env = dict(points=pts, labels=lab, boxes=box, outside=far, unit=unit, masks=mi)
        for n, c in cases.items():
            a = {k: env[v] if isinstance(v, str) else (np.array(v) if isinstance(v, list) else v) for k, v in c.items()}
            mk, iou, low = pr.predict(return_logits=True, **a)
            fx.output(f"{n}.low_res_logits", low, stride=sub(low.size, 2500), tol=rel_tol(rms(low), base=1e-3), note="[B,M,h,w] or [M,h,w], clamped")
            fx.output(f"{n}.iou", iou, tol={"abs": 3e-4})
            fx.output(f"{n}.logits", mk, stride=sub(mk.size, 1500), tol=rel_tol(rms(mk), base=1e-3))
            print("    batch", n, iou.shape, np.round(iou.reshape(-1)[:6], 3), flush=True)
        fx.save()


def preprocess2(st):
    import torch
    from sam2.utils.transforms import SAM2Transforms
    fx = fx2(st, "preprocess", reference=S2 + "utils/transforms.py:SAM2Transforms (ToTensor, Resize((S,S)) on a float tensor = bilinear, antialiased; Normalize); "
             "transformers Sam2ImageProcessor for hf_*", description="pictures u8image(name, H, W, cell 16) -> [3,S,S]; `coords`: transform_coords(points, normalize=True)")
    op = st.name == "open"
    sizes = [(96, 96, 128), (128, 128, 128), (300, 201, 128), (60, 500, 128), (128, 90, 128), (7, 300, 128), (1, 1, 128), (900, 1400, 1024), (480, 640, 1024), (1024, 700, 1024)] if op else \
            [(192, 192, 192), (191, 193, 192), (411, 97, 192), (33, 1000, 192), (1, 5, 192), (1333, 800, 1024), (720, 1280, 1024), (1024, 1024, 1024), (2100, 1500, 1024)]
    rows = []
    for h, w, s in sizes:
        nm = st.prefix + f"input/sam2/pre/{h}x{w}"
        img = P.u8image(nm, h, w, 16)
        x = SAM2Transforms(s, 0.0)(img)
        fx.output(f"{h}x{w}to{s}", x, stride=sub(x.numel(), 12000 if s < 1024 else 6000), tol={"abs": 3e-6})
        rows.append({"name": nm, "hw": [h, w], "size": s})
        if (h, w) in ((300, 201), (480, 640), (411, 97), (720, 1280)):
            from transformers import Sam2ImageProcessor
            y = Sam2ImageProcessor(size={"height": s, "width": s})(images=img, return_tensors="pt")["pixel_values"][0]
            fx.output(f"hf_{h}x{w}to{s}", y, stride=sub(y.numel(), 6000), tol={"abs": 0.018}, note="transformers: the resize runs on uint8 and rounds to uint8; here for information")
            print("     hf vs meta", (h, w), float((x - y).abs().max()), "levels", float(((x - y) * torch.tensor([0.229, 0.224, 0.225])[:, None, None] * 255).abs().max()))
    fx.value("pictures", rows)
    pts = P.tensor(st.prefix + "input/sam2/pre/points", (40, 2), 0.5, 0.5) * np.array([523.0, 377.0], np.float32)
    t = SAM2Transforms(1024, 0.0).transform_coords(torch.from_numpy(pts), normalize=True, orig_hw=(377, 523))
    fx.input("points", pts)
    fx.output("coords", t, exact=True, note="float32: (x / 523) * 1024, (y / 377) * 1024, two roundings")
    fx.save()


def posembed2(st):
    """the windowed position embedding at several grids"""
    import torch
    from sam2.modeling.backbones.hieradet import Hiera
    fx = fx2(st, "pos_embed", reference=S2 + "modeling/backbones/hieradet.py:Hiera._get_pos_embed",
             description="pos_embed [1,C,b,b] bicubic (a = -0.75, half-pixel centres, no antialias, edge taps clamped) to the grid + tiled pos_embed_window [1,C,w,w]; result [1,H,W,C]")
    cases = [(8, 7, 8, (256, 256)), (4, 14, 8, (256, 256)), (16, 5, 8, (32, 32)), (3, 14, 8, (8, 8)), (5, 7, 8, (16, 40)), (4, 7, 8, (128, 128))] if st.name == "open" else \
            [(4, 7, 8, (192, 192)), (6, 14, 8, (64, 64)), (3, 9, 4, (20, 12)), (2, 7, 8, (256, 320))]
    rows = []
    for c, b, w, hw in cases:
        n = f"c{c}_b{b}_w{w}_{hw[0]}x{hw[1]}"
        h = Hiera.__new__(Hiera)
        torch.nn.Module.__init__(h)
        kb, kw = st.prefix + f"input/sam2/pos/{n}/bkg", st.prefix + f"input/sam2/pos/{n}/window"
        h.pos_embed = torch.nn.Parameter(torch.from_numpy(P.tensor(kb, (1, c, b, b), 0.0, 0.5)), requires_grad=False)
        h.pos_embed_window = torch.nn.Parameter(torch.from_numpy(P.tensor(kw, (1, c, w, w), 0.0, 0.5)), requires_grad=False)
        rows.append({"case": n, "bkg": {"name": kb, "shape": [1, c, b, b], "b": 0.5}, "window": {"name": kw, "shape": [1, c, w, w], "b": 0.5}, "grid": list(hw)})
        o = Hiera._get_pos_embed(h, hw)
        fx.output(n, o, stride=sub(o.numel(), 4000), tol={"abs": 2e-6})
    fx.value("cases", rows)
    fx.save()


def dynamic2(st):
    """selection of the mask when one is asked for"""
    import torch
    from sam2.modeling.sam.mask_decoder import MaskDecoder
    fx = fx2(st, "dynamic_multimask", reference=S2 + "modeling/sam/mask_decoder.py:MaskDecoder._dynamic_multimask_via_stability",
             description="all four logits [B,4,h,w] and ious [B,4] -> [B,1,h,w], [B,1]; per item: see inputs.items; delta 0.05, threshold 0.98")
    nm = st.prefix + "input/sam2/dyn/logits"
    hw = (20, 25) if st.name == "open" else (17, 30)
    lg = P.blocky(nm, (9, 4) + hw, 5, 6.0, 0.5)
    iou = P.tensor(st.prefix + "input/sam2/dyn/iou", (9, 4), 0.5, 0.5)
    n = hw[0] * hw[1]
    lg[1, 0] *= np.float32(0.02)                       # unstable
    lg[2, 0] = -7.0                                    # empty union: score 1, stable
    lg[3, 0] = 0.0                                     # 0 / n: unstable
    lg[4, 0] = 3.0
    lg[4, 0].reshape(-1)[:n // 50] = 0.01              # exactly 0.98: stable
    lg[5, 0] = 3.0
    lg[5, 0].reshape(-1)[:n // 50 + 1] = 0.01          # just below
    lg[6, 0] *= np.float32(0.02)
    iou[6, 1:] = [0.25, 0.75, 0.75]                    # tie: the first of the best
    lg[7, 0] = np.float32(0.05)                        # equal to delta: not counted above; -0.05 not reached: unstable
    lg[8, 0] = np.float32(-0.05)                       # equal to -delta: not counted in the union: stable
    items = ["as drawn", "token 0 times 0.02", "token 0 all -7", "token 0 all 0", "token 0 3.0 with n/50 cells 0.01: score exactly 0.98", "one more cell", "times 0.02, tied ious",
             "token 0 all float32(0.05)", "token 0 all float32(-0.05)"]
    d = MaskDecoder.__new__(MaskDecoder)
    torch.nn.Module.__init__(d)
    d.dynamic_multimask_stability_delta, d.dynamic_multimask_stability_thresh = 0.05, 0.98
    a, b = torch.from_numpy(lg), torch.from_numpy(iou)
    s = d._get_stability_scores(a[:, 0:1])
    o, i = d._dynamic_multimask_via_stability(a, b)
    fx.input("logits", lg)
    fx.input("iou", iou)
    fx.value("items", items)
    fx.output("stability", s, exact=True)
    fx.output("masks", o, exact=True)
    fx.output("iou", i, exact=True)
    print("     stability", s.reshape(-1).tolist(), "picked 0:", [bool((o[k, 0] == a[k, 0]).all()) for k in range(9)])
    fx.save()


def cpu_components():
    """what the CUDA extension promises, with OpenCV: 8-connected labels and areas per foreground pixel"""
    import types

    import cv2
    import torch
    m = types.ModuleType("sam2._C")

    def f(x):
        lab, cnt = torch.zeros_like(x, dtype=torch.int32), torch.zeros_like(x, dtype=torch.int32)
        for i in range(x.shape[0]):
            n, l, s, _ = cv2.connectedComponentsWithStats(x[i, 0].numpy(), connectivity=8)
            a = s[:, cv2.CC_STAT_AREA].copy()
            a[0] = 0
            lab[i, 0] = torch.from_numpy(l)
            cnt[i, 0] = torch.from_numpy(a[l])
        return lab, cnt
    m.get_connected_componnets = f  # the reference's spelling
    return m


class Components:
    def __enter__(self):
        import sam2
        self.m = sam2
        sys.modules["sam2._C"] = self.m._C = cpu_components()

    def __exit__(self, *a):
        del sys.modules["sam2._C"], self.m._C


def post2(st):
    import warnings

    import torch
    from common import rel_tol, rms
    from sam2.utils.transforms import SAM2Transforms
    fx = fx2(st, "postprocess", reference=S2 + "utils/transforms.py:SAM2Transforms.postprocess_masks; the connected components by OpenCV in place of the CUDA extension",
             description="low-res logits [B,M,h,w] -> logits [B,M,H,W] (bilinear, half-pixel, no antialias); `clean_*`: with max_hole_area = max_sprinkle_area = A: holes "
                         "(8-connected components of logits <= 0 of at most A low-res cells) become +10, then sprinkles (components of the ORIGINAL logits > 0 of at most A cells) "
                         "-10, before the resize. Without the CUDA extension the reference warns and skips both (`plain_*`)")
    hw = [(57, 91), (200, 31)] if st.name == "open" else [(83, 140), (19, 64)]
    nm = st.prefix + "input/sam2/post/logits"
    lg = P.blocky(nm, (2, 3, 32, 32), 3, 6.0, 4.0)
    fx.inputs["logits"] = {"procedural": {"formula": "blocky", "name": nm, "shape": [2, 3, 32, 32], "cell": 3, "b_block": 6.0, "b_noise": 4.0}}
    t = torch.from_numpy(lg)
    for h, w in hw:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            o = SAM2Transforms(128, 0.0, 8.0, 8.0).postprocess_masks(t, (h, w))
            assert torch.equal(o, SAM2Transforms(128, 0.0).postprocess_masks(t, (h, w)))
        fx.output(f"plain_{h}x{w}", o, stride=sub(o.numel(), 4000), tol=rel_tol(rms(o), base=2e-5))
        with Components():
            for area in (4, 8):
                c = SAM2Transforms(128, 0.0, float(area), float(area)).postprocess_masks(t, (h, w))
                fx.output(f"clean_{h}x{w}_{area}", c, stride=sub(c.numel(), 4000), tol=rel_tol(rms(c), base=2e-5))
                assert not torch.equal(o, c)
    fx.save()


# ------------------------------------------------------------------------- amg


def amg_overrides(T):
    """coarse regions, as in g_amg.py: no position tables, tied taps, a constant -0.75 T[k] added to the logits of mask token k"""
    D = "sam_mask_decoder."
    o = [{"key": "image_encoder.trunk.pos_embed", "op": "fill", "value": 0.0}, {"key": "image_encoder.trunk.pos_embed_window", "op": "fill", "value": 0.0},
         {"key": D + "output_upscaling.0.weight", "op": "tie_taps"}, {"key": D + "output_upscaling.3.weight", "op": "tie_taps"},
         {"key": D + "output_upscaling.3.weight", "op": "fill_index", "index": [None, 0], "value": 0.0},
         {"key": D + "output_upscaling.3.bias", "op": "fill_index", "index": [0], "value": 6.0},
         {"key": D + "conv_s0.weight", "op": "fill_index", "index": [0], "value": 0.0}, {"key": D + "conv_s0.bias", "op": "fill_index", "index": [0], "value": 0.0}]
    for k in range(4):
        o.append({"key": D + f"output_hypernetworks_mlps.{k}.layers.2.weight", "op": "fill_index", "index": [0], "value": 0.0})
        o.append({"key": D + f"output_hypernetworks_mlps.{k}.layers.2.bias", "op": "fill_index", "index": [0], "value": -T[k] / 8})
    return o


def amg2(st):
    import torch
    from PIL import Image
    import g_amg
    import sam2.utils.amg as A
    from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
    pic = g_amg.scene(st.name)
    os.makedirs(st.out, exist_ok=True)
    Image.fromarray(pic).save(os.path.join(st.out, "scene.png"), optimize=True)
    runs = [("grid", dict(points_per_side=6, points_per_batch=16)),
            ("single", dict(points_per_side=6, points_per_batch=64, multimask_output=False)),
            ("m2m", dict(points_per_side=5, points_per_batch=10, use_m2m=True)),
            ("crops", dict(points_per_side=4, points_per_batch=10, crop_n_layers=1, crop_overlap_ratio=0.4, crop_n_points_downscale_factor=2)),
            ("crops_m2m", dict(points_per_side=3, points_per_batch=64, crop_n_layers=1, use_m2m=True)),
            ("grid_regions", dict(points_per_side=5, points_per_batch=64, min_mask_region_area=9))]
    budget = 60
    for tag, kw in runs:
        t0, best, bestscore = time.time(), None, -1e9
        for T in ((0, 2.0, 0.0, 2.0), (2.0, 4.0, 2.0, 4.0), (1.0, 1.0, -1.0, 5.0), (4.0, 6.0, 4.0, 2.0), (0, 0, 0, 0), (3.0, 8.0, 6.0, 8.0), (-2.0, -2.0, 3.0, 5.0)):
            if time.time() - t0 > budget:
                break
            ovr = amg_overrides(T)
            m = fill2(build_parts(AMGC), st.prefix, ovr)
            for stab, iou_t, nms_t in ((0.6, 0.3, 0.8), (0.4, 0.3, 0.9), (0.3, 0.2, 0.95), (0.5, 0.5, 0.9)):
                if time.time() - t0 > budget:
                    break
                opt = dict(kw, pred_iou_thresh=iou_t, stability_score_thresh=stab, stability_score_offset=0.5, box_nms_thresh=nms_t, crop_nms_thresh=nms_t)
                g = SAM2AutomaticMaskGenerator(m, output_mode="uncompressed_rle", **opt)
                fit(g.predictor)

                def gen():
                    if "min_mask_region_area" in kw:
                        with Components():
                            return g.generate(pic)
                    return g.generate(pic)
                try:
                    r = gen()
                except IndexError:
                    continue
                big = sum(x["area"] > 150 for x in r)
                score = min(big, 12) + 2 * len({tuple(x["crop_box"]) for x in r}) - 0.5 * sum(x["area"] <= 150 for x in r) - 0.3 * max(0, len(r) - 16)
                if len(r) > 40 or big < 3 or score <= bestscore:
                    continue
                ok = True
                for seed in range(3):
                    rg = torch.Generator().manual_seed(seed)

                    def nz(_m, i, o):
                        o["backbone_fpn"][:] = [v + 2e-5 * torch.randn(v.shape, generator=rg) for v in o["backbone_fpn"]]
                    hk = m.image_encoder.register_forward_hook(nz)
                    ok = g_amg.same(r, gen())
                    hk.remove()
                    if not ok:
                        break
                if ok:
                    best, bestscore = (r, opt, ovr), score
        if not best:
            print("     no stable run for", tag, flush=True)
            continue
        r, opt, ovr = best
        for x in r:
            x["coco_rle"] = A.coco_encode_rle(x["segmentation"])["counts"]
        f = f"run_{tag}.json"
        with open(os.path.join(st.out, f), "w") as o:
            json.dump({"options": opt, "records": r}, o, separators=(",", ":"))
            o.write("\n")
        st.add(f, {"group": "sam2", "reference": S2 + "automatic_mask_generator.py:SAM2AutomaticMaskGenerator.generate"
                   + (" (connected components by OpenCV, as postprocess.safetensors)" if "regions" in tag else ""), "architecture": arch2("tiny256", AMGC),
                   "weights": {"procedural": True, "prefix": st.prefix, "overrides": ovr}, "inputs": {"image": {"file": "scene.png", "size_hw": list(pic.shape[:2])}},
                   "outputs": {}, "description": f"{len(r)} records in the order of generate(); segmentation = uncompressed RLE, coco_rle the same compressed; thresholds chosen so that 2e-5 "
                   "gaussian noise on all three feature levels leaves number and order of the records unchanged",
                   "tolerance": {"records": "same number, order, point_coords, crop_box", "mask_iou_min": 0.98, "bbox_px": 3, "predicted_iou": 1e-3, "stability_score": 0.01}})
        print(f"   {tag}: {len(r)} records, areas {[x['area'] for x in r]} iou {[round(x['predicted_iou'], 2) for x in r]} crops {len({tuple(x['crop_box']) for x in r})} "
              f"{ {k: v for k, v in opt.items() if 'thresh' in k} } {time.time() - t0:.0f}s", flush=True)


# --------------------------------------------------------------------- formats

REN = (("iou_prediction_head.layers.0", "iou_prediction_head.proj_in"), ("iou_prediction_head.layers.1", "iou_prediction_head.layers.0"),
       ("iou_prediction_head.layers.2", "iou_prediction_head.proj_out"), ("output_upscaling.0", "upscale_conv1"), ("output_upscaling.1", "upscale_layer_norm"),
       ("output_upscaling.3", "upscale_conv2"), ("mask_downscaling.0", "mask_embed.conv1"), ("mask_downscaling.1", "mask_embed.layer_norm1"),
       ("mask_downscaling.3", "mask_embed.conv2"), ("mask_downscaling.4", "mask_embed.layer_norm2"), ("mask_downscaling.6", "mask_embed.conv3"),
       ("pe_layer.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"), ("sam_prompt_encoder", "prompt_encoder"), ("sam_mask_decoder", "mask_decoder"),
       ("image_encoder.neck", "vision_encoder.neck"), ("image_encoder.trunk", "vision_encoder.backbone"), ("patch_embed.proj", "patch_embed.projection"),
       (".conv.", "."), (".norm", ".layer_norm"), (".out_proj.", ".o_proj."))


def hf_name(k):
    """Hugging Face's name of a tensor of the image model (the four point embeddings are stacked separately)"""
    if k == "no_mem_embed":
        return "no_memory_embedding"
    for a, b in REN:
        if a == ".conv." and ".neck.convs." not in k:
            continue
        k = k.replace(a, b)
    three = "output_hypernetworks_mlps" in k or "pred_obj_score_head" in k
    two = ".mlp.layers." in k
    if three:
        k = k.replace("layers.0.", "proj_in.").replace("layers.1.", "layers.0.").replace("layers.2.", "proj_out.")
    elif two:
        k = k.replace("mlp.layers.0.", "mlp.proj_in.").replace("mlp.layers.1.", "mlp.proj_out.")
    return k


VID = (("dwconv", "depthwise_conv"), ("pwconv", "pointwise_conv"), ("fuser", "memory_fuser"), ("obj_ptr_tpos_proj", "temporal_positional_encoding_projection_layer"),
       ("no_obj_embed_spatial", "occlusion_spatial_embedding_parameter"), ("maskmem_tpos_enc", "memory_temporal_positional_encoding"), ("gamma", "scale"),
       ("pix_feat_proj", "feature_projection"), ("no_mem_pos_enc", "no_memory_positional_encoding"), ("obj_ptr", "object_pointer"), (".norm", ".layer_norm"), ("out_proj", "o_proj"))


def hf_video_name(k):
    """names of the video model's further tensors, as in transformers' converter"""
    if is_image_key(k):
        return hf_name(k)
    for a, b in VID:
        k = k.replace(a, b)
    k = k.replace("memory_encoder.o_proj.", "memory_encoder.projection.")
    if k.startswith("object_pointer_proj."):
        k = k.replace("layers.0.", "proj_in.").replace("layers.1.", "layers.0.").replace("layers.2.", "proj_out.")
    if k.startswith("memory_encoder.mask_downsampler.encoder."):
        n = int(k.split(".")[3])
        k = k.replace(f"encoder.{n}.", "final_conv." if n == 12 else f"layers.{n // 3}.{'conv' if n % 3 == 0 else 'layer_norm'}.")
    return k


def hf_sd(sd, video):
    out = {}
    for k, v in sd.items():
        if not video and not is_image_key(k):
            continue
        out[hf_video_name(k) if video else hf_name(k)] = v
    pts = [k for k in out if ".point_embeddings." in k]
    import torch
    out["prompt_encoder.point_embed.weight"] = torch.cat([out.pop(k) for k in sorted(pts)], 0)
    out["shared_image_embedding.positional_embedding"] = out["prompt_encoder.shared_embedding.positional_embedding"].clone()
    return out


def hf_config(cfg, video, mem=None):
    from transformers import Sam2Config, Sam2HieraDetConfig, Sam2VisionConfig
    e, d, s = cfg["embed_dim"], cfg["d_model"], cfg["image_size"]
    dims = [e, 2 * e, 4 * e, 8 * e]
    det = Sam2HieraDetConfig(hidden_size=e, num_attention_heads=cfg["num_heads"], image_size=[s, s], embed_dim_per_stage=dims,
                             num_attention_heads_per_stage=[cfg["num_heads"] * 2 ** i for i in range(4)], blocks_per_stage=cfg["stages"], window_size_per_stage=cfg["window_spec"],
                             global_attention_blocks=cfg["global_att_blocks"], window_positional_embedding_background_size=cfg["window_pos_embed_bkg_spatial_size"])
    vis = Sam2VisionConfig(backbone_config=det, backbone_channel_list=dims[::-1], backbone_feature_sizes=[[s // 4] * 2, [s // 8] * 2, [s // 16] * 2], fpn_hidden_size=d)
    if not video:
        return Sam2Config(vision_config=vis, prompt_encoder_config=dict(hidden_size=d, image_size=s, patch_size=16),
                          mask_decoder_config=dict(hidden_size=d, mlp_dim=2048, num_attention_heads=8, iou_head_hidden_dim=256))
    from transformers import Sam2VideoConfig
    return Sam2VideoConfig(vision_config=vis, prompt_encoder_config=dict(hidden_size=d, image_size=s, patch_size=16),
                           mask_decoder_config=dict(hidden_size=d, mlp_dim=2048, num_attention_heads=8, iou_head_hidden_dim=256), image_size=s,
                           enable_temporal_pos_encoding_for_object_pointers=True, enable_occlusion_spatial_embedding=True, memory_attention_hidden_size=d,
                           memory_attention_num_layers=mem["layers"], memory_attention_num_attention_heads=1, memory_attention_downsample_rate=1,
                           memory_attention_feed_forward_hidden_size=mem["ff"], memory_attention_rope_feat_sizes=[s // 16, s // 16], memory_encoder_hidden_size=d,
                           memory_encoder_output_channels=mem["mem_dim"], mask_downsampler_embed_dim=d, memory_fuser_embed_dim=d, memory_fuser_intermediate_dim=4 * d)


def formats2(st):
    from collections import OrderedDict

    import torch
    from common import rel_tol, rms, to_np  # noqa: F401
    from g_formats import quant, save_st
    with torch.no_grad():
        base = os.path.join(st.out, "formats")
        shutil.rmtree(base, ignore_errors=True)
        os.makedirs(base)
        op = st.name == "open"
        mem = dict(layers=1, ff=48, mem_dim=64)  # transformers has the 64 as a constant
        m = build_parts(FORMAT, mem)
        sd = OrderedDict()
        for k, t in m.state_dict().items():
            if is_image_key(k):
                v = weight2(k, tuple(t.shape), st.prefix + "formats/")
            else:
                v = P.tensor(st.prefix + "formats/" + k, tuple(t.shape), 0.0, 0.1)
            sd[k] = quant(torch.from_numpy(v))
        m.load_state_dict(sd)
        for p in m.parameters():
            p.requires_grad_(False)
        iname = st.prefix + "input/sam2/formats"
        hw = (128, 100) if op else (90, 160)
        pic = P.u8image(iname, hw[0], hw[1], 16)
        pr = predictor(m)
        pr.set_image(pic)
        pts, lab = np.array([[50, 40], [15, 80]]), np.array([1, 0])
        box = np.array([12, 20, 80, 77])
        res = {}
        mk = {"formula": "blocky", "name": iname + "/mask", "shape": [1, 32, 32], "cell": 4, "b_block": 6.0, "b_noise": 1.0}
        mask = blocky_of(mk)
        for n, kw in (("points", dict(point_coords=pts, point_labels=lab, multimask_output=True)), ("single", dict(point_coords=pts, point_labels=lab, multimask_output=False)),
                      ("box", dict(box=box, multimask_output=True)), ("mask", dict(point_coords=pts, point_labels=lab, mask_input=mask, multimask_output=True))):
            cap = Capture(m.sam_mask_decoder)
            res[n] = pr.predict(return_logits=True, **kw)
            cap.close()
            res[n] += (cap.last,)
        # the published container
        files = {}
        if op:
            torch.save({"model": OrderedDict((k, v.clone()) for k, v in sd.items())}, os.path.join(base, "sam2_tiny.pt"))
            files["sam2_tiny.pt"] = "torch.save({'model': state_dict}), zip, F32, with the video model's tensors, as the published sam2.1_hiera_*.pt"
        old = OrderedDict((k, v) for k, v in sd.items() if not k.startswith("obj_ptr_tpos_proj") and k != "no_obj_embed_spatial")
        if not op:
            torch.save({"model": OrderedDict((k, v.half()) for k, v in old.items())}, os.path.join(base, "sam2_tiny_20.pt"))
            files["sam2_tiny_20.pt"] = "torch.save({'model': state_dict}), zip, F16, without SAM 2.1's further video tensors (obj_ptr_tpos_proj, no_obj_embed_spatial): the key set of sam2_hiera_*.pt"
        x = pr._transforms(pic)[None]
        c = pr._transforms.transform_coords(torch.as_tensor(pts, dtype=torch.float), normalize=True, orig_hw=hw)
        b = pr._transforms.transform_boxes(torch.as_tensor(box, dtype=torch.float), normalize=True, orig_hw=hw).reshape(1, 1, 4)
        # transformers
        from transformers import Sam2Model
        h = Sam2Model(hf_config(FORMAT, False)).eval()
        h.load_state_dict(hf_sd(sd, False), strict=True)
        diffs = {}
        for n, kw in (("points", dict(input_points=c[None, None], input_labels=torch.tensor([[[1, 0]]]), multimask_output=True)),
                      ("single", dict(input_points=c[None, None], input_labels=torch.tensor([[[1, 0]]]), multimask_output=False)), ("box", dict(input_boxes=b, multimask_output=True)),
                      ("mask", dict(input_points=c[None, None], input_labels=torch.tensor([[[1, 0]]]), input_masks=torch.from_numpy(mask)[None], multimask_output=True))):
            o = h(pixel_values=x, **kw)
            raw = torch.from_numpy(res[n][2])
            diffs[n] = [float((o.pred_masks[0, 0].clamp(-32, 32) - raw).abs().max()), float((o.iou_scores[0, 0] - torch.from_numpy(res[n][1])).abs().max()),
                        float((o.object_score_logits.reshape(-1) - res[n][3][3].reshape(-1)).abs().max())]
        print("     transformers vs Meta (logits, iou, object score):", diffs, "logit rms", rms(torch.from_numpy(res["points"][2])))
        assert all(v[0] < 2e-4 and v[1] < 1e-5 for v in diffs.values())
        if op:
            h.half().save_pretrained(os.path.join(base, "sam2_hf"))
            files["sam2_hf/"] = f"transformers Sam2Model.save_pretrained (model_type sam2), F16; Sam2Model's outputs differ from Meta's by at most {max(v[0] for v in diffs.values()):.1e} (logits), {max(v[1] for v in diffs.values()):.1e} (iou)"
        from transformers import Sam2VideoModel
        v = Sam2VideoModel(hf_config(FORMAT, True, mem)).eval()
        v.load_state_dict(hf_sd(sd, True), strict=True)
        v.half().save_pretrained(os.path.join(base, "sam2_hf_video"), **({} if op else {"max_shard_size": "600KB"}))
        files["sam2_hf_video/"] = "transformers Sam2VideoModel.save_pretrained (model_type sam2_video, architectures Sam2VideoModel: what facebook/sam2*-hiera-* publish), F16, with the video model's tensors" + ("" if op else "; in shards with model.safetensors.index.json")
        fx = fx2(st, "formats_expected", reference=S2 + "sam2_image_predictor.py", architecture=arch2("formats", FORMAT), weights={"files": files, "dir": "formats",
                 "note": "all files hold the same numbers, representable in F32, F16 and BF16 (key prefix formats/, then rounded: read them from the files)"},
                 description="outputs of every file of formats/: points (multimask), single (points, one mask), box (multimask), mask (points and a mask prompt, multimask)")
        fx.inputs["image"] = {"procedural": {"formula": "u8image", "name": iname, "shape": [hw[0], hw[1], 3], "cell": 16, "b_block": 80.0, "b_noise": 24.0}}
        fx.inputs["mask"] = {"procedural": mk, "note": "mask prompt of the case mask"}
        fx.value("points", pts.tolist())
        fx.value("labels", lab.tolist())
        fx.value("box", box.tolist())
        fx.value("surplus_tensors", sorted(k for k in sd if not is_image_key(k)))
        fx.output("image_embedding", pr._features["image_embed"], tol=rel_tol(rms(pr._features["image_embed"])))
        for k in (0, 1):
            fx.output(f"high_res{k}", pr._features["high_res_feats"][k], stride=3, tol=rel_tol(rms(pr._features["high_res_feats"][k])))
        for n, r in res.items():
            fx.output(f"{n}.low_res_logits", r[2], tol=rel_tol(rms(torch.from_numpy(r[2])), base=1e-3))
            fx.output(f"{n}.iou", r[1], tol={"abs": 3e-4})
            fx.output(f"{n}.object_score", r[3][3], tol={"abs": 2e-3})
            fx.output(f"{n}.logits", r[0], stride=sub(r[0].size, 3000), tol=rel_tol(rms(torch.from_numpy(r[0])), base=1e-3))
            print("    ", n, np.round(r[1], 3), [round(float((q > 0).mean()), 3) for q in r[0]])
        fx.save()


# --------------------------------------------------------------------- verify
# the whole model in float64 numpy, written from the description of SAM 2 (docs/reference/sam2.md); neither torch nor the reference is used


def _erf():
    try:
        from scipy.special import erf
        return erf
    except ImportError:
        pass
    try:
        import torch
        return lambda x: torch.erf(torch.from_numpy(np.ascontiguousarray(x))).numpy()
    except ImportError:
        return np.vectorize(math.erf)


class Numpy:
    """cfg: architecture entry of the index; w(key, shape) -> array"""

    dtype = np.float64

    def __init__(self, cfg, w):
        self.c, self._w, self.cache, self.erf = cfg, w, {}, _erf()

    def w(self, k, *shape):
        if k not in self.cache:
            self.cache[k] = np.asarray(self._w(k, tuple(shape)), self.dtype).reshape(shape)
        return self.cache[k]

    def gelu(self, x):
        return 0.5 * x * (1 + self.erf(x / math.sqrt(2)))

    def lin(self, x, k, out):
        return x @ self.w(k + ".weight", out, x.shape[-1]).T + self.w(k + ".bias", out)

    def ln(self, x, k, eps):
        u = x.mean(-1, keepdims=True)
        v = ((x - u) ** 2).mean(-1, keepdims=True)
        return (x - u) / np.sqrt(v + eps) * self.w(k + ".weight", x.shape[-1]) + self.w(k + ".bias", x.shape[-1])

    def mlp(self, x, k, dims, act):
        for i, d in enumerate(dims):
            x = self.lin(x, f"{k}.layers.{i}", d)
            if i + 1 < len(dims):
                x = act(x)
        return x

    @staticmethod
    def attend(q, k, v, heads):
        sp = lambda t: t.reshape(t.shape[:-1] + (heads, -1)).swapaxes(-2, -3)
        q, k, v = sp(q), sp(k), sp(v)
        s = q @ k.swapaxes(-1, -2) * (q.shape[-1] ** -0.5)
        s -= s.max(-1, keepdims=True)
        np.exp(s, out=s)
        s /= s.sum(-1, keepdims=True)
        o = (s @ v).swapaxes(-2, -3)
        return o.reshape(o.shape[:-2] + (-1,))

    # picture
    @staticmethod
    def resize_aa(x, n, axis):
        m = x.shape[axis]
        if m == n:
            return x
        x = np.moveaxis(x, axis, 0)
        f = np.float32  # scale, centre and weights are float32 numbers (it matters when n is no power of two)
        sc = f(m) / f(n)
        sup = max(sc, f(1))
        inv = f(1) / sup
        o = np.empty((n,) + x.shape[1:])
        for i in range(n):
            c = f(float(sc) * (i + 0.5))
            a, b = max(int(float(c - sup) + 0.5), 0), min(int(float(c + sup) + 0.5), m)
            t = np.maximum(f(0), f(1) - np.abs((((np.arange(a, b).astype(f) - c).astype(float) + 0.5) * float(inv)).astype(f)))
            o[i] = np.tensordot((t / t.sum(dtype=f)).astype(float), x[a:b], 1)
        return np.moveaxis(o, 0, axis)

    def preprocess(self, img, s):
        x = (img.astype(np.float32) / np.float32(255)).astype(np.float64).transpose(2, 0, 1)
        x = self.resize_aa(self.resize_aa(x, s, 2), s, 1)
        return ((x - np.array([0.485, 0.456, 0.406])[:, None, None]) / np.array([0.229, 0.224, 0.225])[:, None, None])[None]

    # trunk
    @staticmethod
    def bicubic(x, n, axis):
        m = x.shape[axis]
        x = np.moveaxis(x, axis, 0)
        A = -0.75
        near = lambda t: ((A + 2) * t - (A + 3)) * t * t + 1
        far = lambda t: ((A * t - 5 * A) * t + 8 * A) * t - 4 * A
        o = np.empty((n,) + x.shape[1:])
        for i in range(n):
            p = m / n * (i + 0.5) - 0.5
            f = math.floor(p)
            t = p - f
            o[i] = sum(c * x[min(max(f - 1 + j, 0), m - 1)] for j, c in enumerate((far(t + 1), near(t), near(1 - t), far(2 - t))))
        return np.moveaxis(o, 0, axis)

    def pos(self, bkg, win, hw):
        p = self.bicubic(self.bicubic(bkg, hw[1], 3), hw[0], 2)
        k = win.shape[-1]
        return (p + np.tile(win, (1, 1, hw[0] // k, hw[1] // k))).transpose(0, 2, 3, 1)

    def trunk(self, x, out):
        c = self.c
        e, st = c["embed_dim"], c["stages"]
        s = x.shape[-1]
        xp = np.pad(x[0], ((0, 0), (3, 3), (3, 3)))
        win = np.lib.stride_tricks.sliding_window_view(xp, (7, 7), (1, 2))[:, ::4, ::4]
        g = s // 4
        y = win.transpose(1, 2, 0, 3, 4).reshape(g, g, -1) @ self.w("image_encoder.trunk.patch_embed.proj.weight", e, 3, 7, 7).reshape(e, -1).T
        y = y + self.w("image_encoder.trunk.patch_embed.proj.bias", e)
        out["trunk.patch_embed"] = y[None]
        b, w0 = c["window_pos_embed_bkg_spatial_size"], c["window_spec"][0]
        out["pos_embed"] = self.pos(self.w("image_encoder.trunk.pos_embed", 1, e, b[0], b[1]), self.w("image_encoder.trunk.pos_embed_window", 1, e, w0, w0), (g, g))
        y = y + out["pos_embed"][0]
        feats, i, dim, heads = [], 0, e, c["num_heads"]
        for stage, depth in enumerate(st):
            for j in range(depth):
                first = stage > 0 and j == 0
                ws = c["window_spec"][stage - 1 if first else stage]
                if i in c["global_att_blocks"]:
                    ws = 0
                dout = dim * 2 if first else dim
                if first:
                    heads *= 2
                y = self.block(y, f"image_encoder.trunk.blocks.{i}", dim, dout, heads, ws, first, out, f"trunk.block{i}")
                dim = dout
                out[f"trunk.block{i}"] = y[None]
                i += 1
            feats.append(y)
        return feats

    @staticmethod
    def pool(x):
        h, w = x.shape[-3] // 2, x.shape[-2] // 2
        x = x[..., :2 * h, :2 * w, :]
        return x.reshape(x.shape[:-3] + (h, 2, w, 2, x.shape[-1])).max((-4, -2))

    def block(self, x, k, dim, dout, heads, ws, pooled, out, name):
        h, w, _ = x.shape
        n = self.ln(x, k + ".norm1", 1e-6)
        out[name + ".norm1"] = n[None]
        short = self.pool(self.lin(n, k + ".proj", dout)) if pooled else x
        if ws:
            ph, pw = -h % ws, -w % ws
            t = np.pad(n, ((0, ph), (0, pw), (0, 0)))
            nh, nw = (h + ph) // ws, (w + pw) // ws
            t = t.reshape(nh, ws, nw, ws, dim).transpose(0, 2, 1, 3, 4).reshape(nh * nw, ws, ws, dim)
        else:
            t, nh, nw = n[None], 1, 1
        out[name + ".attn_in"] = t
        qkv = self.lin(t, k + ".attn.qkv", 3 * dout)
        q, kk, v = (qkv[..., i * dout:(i + 1) * dout] for i in range(3))
        if pooled:
            q = self.pool(q)
        qh, qw = q.shape[1:3]
        fl = lambda t: t.reshape(t.shape[0], -1, dout)
        o = np.concatenate([self.attend(fl(q[i:i + 16]), fl(kk[i:i + 16]), fl(v[i:i + 16]), heads) for i in range(0, q.shape[0], 16)])
        o = self.lin(o, k + ".attn.proj", dout).reshape(-1, qh, qw, dout)
        out[name + ".attn_out"] = o
        o = o.reshape(nh, nw, qh, qw, dout).transpose(0, 2, 1, 3, 4).reshape(nh * qh, nw * qw, dout)
        x = short + o[:short.shape[0], :short.shape[1]]
        return x + self.mlp(self.ln(x, k + ".norm2", 1e-6), k + ".mlp", (4 * dout, dout), self.gelu)

    def encode(self, x, out):
        d = self.c["d_model"]
        f = self.trunk(x, out)
        lat = [self.lin1(f[i], f"image_encoder.neck.convs.{3 - i}.conv", d) for i in range(4)]
        fpn = [lat[0], lat[1], lat[2] + lat[3].repeat(2, 0).repeat(2, 1), lat[3]]
        nchw = lambda t: t.transpose(2, 0, 1)[None]
        for i in range(4):
            out[f"fpn{i}"] = nchw(fpn[i])
        hi = [self.lin1(fpn[0], "sam_mask_decoder.conv_s0", d // 8), self.lin1(fpn[1], "sam_mask_decoder.conv_s1", d // 4)]
        emb = fpn[2] + self.w("no_mem_embed", 1, 1, d).reshape(d)
        out["image_embedding"], out["high_res0"], out["high_res1"] = nchw(emb), nchw(hi[0]), nchw(hi[1])
        return emb, hi

    def lin1(self, x, k, n):
        return x @ self.w(k + ".weight", n, x.shape[-1], 1, 1).reshape(n, -1).T + self.w(k + ".bias", n)

    # prompts
    def fourier(self, p):
        d = self.c["d_model"]
        a = 2 * np.pi * ((2 * p - 1) @ self.w("sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", 2, d // 2))
        return np.concatenate([np.sin(a), np.cos(a)], -1)

    def dense_pe(self):
        g = self.c["image_size"] // 16
        t = (np.arange(g) + 0.5) / g
        return self.fourier(np.stack(np.broadcast_arrays(t[None, :], t[:, None]), -1))

    def sparse(self, hw, points=None, labels=None, box=None, unit=False):
        s, d = self.c["image_size"], self.c["d_model"]
        co, la = [], []
        if box is not None:
            co += [box[:2], box[2:]]
            la += [2, 3]
        if points is not None:
            co += list(points)
            la += list(labels)
        if not co:
            return np.zeros((0, d))
        sc = np.array([1, 1] if unit else [hw[1], hw[0]], np.float32)
        c = (np.array(co, np.float32) / sc * np.float32(s)).astype(np.float32)
        c = (c + np.float32(0.5)) / np.float32(s)
        e = self.fourier(c.astype(np.float64))
        for i, l in enumerate(la):
            if l == -1:
                e[i] = 0
            e[i] += self.w("sam_prompt_encoder.not_a_point_embed.weight", 1, d)[0] if l == -1 else self.w(f"sam_prompt_encoder.point_embeddings.{l}.weight", 1, d)[0]
        return np.concatenate([e, self.w("sam_prompt_encoder.not_a_point_embed.weight", 1, d)])

    def down(self, x, k, n):
        h, w, c = x.shape
        y = x.reshape(h // 2, 2, w // 2, 2, c).transpose(0, 2, 4, 1, 3).reshape(h // 2, w // 2, -1)
        return y @ self.w(k + ".weight", n, c, 2, 2).reshape(n, -1).T + self.w(k + ".bias", n)

    def dense(self, mask):
        k, m = "sam_prompt_encoder.mask_downscaling.", 16
        x = self.down(np.asarray(mask, np.float64)[:, :, None], k + "0", m // 4)
        x = self.gelu(self.ln(x, k + "1", 1e-6))
        x = self.gelu(self.ln(self.down(x, k + "3", m), k + "4", 1e-6))
        return self.lin1(x, k + "6", self.c["d_model"])

    # decoder
    def att(self, q, k, v, name, inner):
        D = "sam_mask_decoder.transformer." + name
        return self.lin(self.attend(self.lin(q, D + ".q_proj", inner), self.lin(k, D + ".k_proj", inner), self.lin(v, D + ".v_proj", inner), 8), D + ".out_proj", self.c["d_model"])

    def up(self, x, k, n):
        h, w, c = x.shape
        y = np.tensordot(x, self.w(k + ".weight", c, n, 2, 2), 1)  # h w n 2 2
        return y.transpose(0, 3, 1, 4, 2).reshape(2 * h, 2 * w, n) + self.w(k + ".bias", n)

    def decode(self, emb, hi, sparse, dense, out):
        d = self.c["d_model"]
        D, T = "sam_mask_decoder.", "sam_mask_decoder.transformer."
        tok = np.concatenate([self.w(D + "obj_score_token.weight", 1, d), self.w(D + "iou_token.weight", 1, d), self.w(D + "mask_tokens.weight", 4, d), sparse])
        h, w, _ = emb.shape
        keys = (emb + dense).reshape(h * w, d)
        pe = self.dense_pe().reshape(h * w, d)
        q, relu = tok, lambda t: np.maximum(t, 0)
        for i in range(2):
            L = f"layers.{i}."
            if i == 0:
                q = self.att(q, q, q, L + "self_attn", d)
                out["dec.layer0.self_attn"] = q[None]
            else:
                q = q + self.att(q + tok, q + tok, q, L + "self_attn", d)
            q = self.ln(q, T + L + "norm1", 1e-5)
            a = self.att(q + tok, keys + pe, keys, L + "cross_attn_token_to_image", d // 2)
            if i == 0:
                out["dec.layer0.token_to_image"] = a[None]
            q = self.ln(q + a, T + L + "norm2", 1e-5)
            q = self.ln(q + self.mlp(q, T + L + "mlp", (2048, d), relu), T + L + "norm3", 1e-5)
            keys = self.ln(keys + self.att(keys + pe, q + tok, q, L + "cross_attn_image_to_token", d // 2), T + L + "norm4", 1e-5)
            out[f"dec.layer{i}.queries"], out[f"dec.layer{i}.keys"] = q[None], keys[None]
        q = self.ln(q + self.att(q + tok, keys + pe, keys, "final_attn_token_to_image", d // 2), T + "norm_final_attn", 1e-5)
        out["dec.transformer.queries"], out["dec.transformer.keys"] = q[None], keys[None]
        nchw = lambda t: t.transpose(2, 0, 1)[None]
        u = self.up(keys.reshape(h, w, d), D + "output_upscaling.0", d // 4)
        out["dec.deconv0"] = nchw(u)
        u = self.ln(u + hi[1], D + "output_upscaling.1", 1e-6)
        out["dec.norm_after_s1"] = nchw(u)
        u = self.up(self.gelu(u), D + "output_upscaling.3", d // 8)
        out["dec.deconv1"] = nchw(u)
        u = self.gelu(u + hi[0])
        out["dec.upscaled"] = nchw(u)
        hy = [self.mlp(q[2 + i], D + f"output_hypernetworks_mlps.{i}", (d, d, d // 8), relu) for i in range(4)]
        for i in range(4):
            out[f"dec.hyper{i}"] = hy[i][None]
        low = np.stack([u @ y for y in hy])
        iou = 1 / (1 + np.exp(-self.mlp(q[1], D + "iou_prediction_head", (256, 256, 4), relu)))
        obj = self.mlp(q[0], D + "pred_obj_score_head", (d, d, 1), relu)
        out["all_low_res"], out["all_iou"], out["object_score"] = low[None], iou[None], obj[None]
        return low, iou, obj

    def select(self, low, iou, multi, out):
        if multi:
            return low[1:], iou[1:]
        a, u = (low[0] > np.float32(0.05)).sum(), (low[0] > -np.float32(0.05)).sum()
        s = np.float32(a) / np.float32(u) if u else np.float32(1)
        out["stability"] = float(s)
        j = 0 if s >= np.float32(0.98) else 1 + int(iou[1:].argmax())
        return low[j:j + 1], iou[j:j + 1]

    @staticmethod
    def bilinear(x, n, axis):
        m = x.shape[axis]
        x = np.moveaxis(x, axis, 0)
        p = np.maximum((np.arange(n) + 0.5) * m / n - 0.5, 0)
        a = np.minimum(np.floor(p).astype(int), m - 1)
        b = np.minimum(a + 1, m - 1)
        f = (p - a).reshape((-1,) + (1,) * (x.ndim - 1))
        return np.moveaxis(x[a] * (1 - f) + x[b] * f, 0, axis)


def picture_of(d):
    p = d["procedural"]
    return P.u8image(p["name"], p["shape"][0], p["shape"][1], p["cell"], p["b_block"], p["b_noise"])


def blocky_of(p):
    return P.blocky(p["name"], p["shape"], p["cell"], p["b_block"], p["b_noise"])


class Checker:
    def __init__(self, root, e):
        from safetensors.numpy import load_file
        self.e, self.t = e, load_file(os.path.join(root, e["file"]))
        self.worst, self.n, self.bad, self.rel, self.seen = (0.0, ""), 0, [], (0.0, ""), set()

    def __call__(self, name, got):
        d = self.e["outputs"].get(name)
        if d is None:
            return
        self.seen.add(name)
        self.n += 1
        if d["stored"] == "none":
            if "value" in d and abs(d["value"] - got) > 2e-4:
                self.bad.append((name, d["value"], got))
            return
        k = "out." + name + (f".s{d['stride']}" if d["stored"] == "strided" else "")
        got = np.asarray(got)
        if list(got.shape) != d["shape"]:
            self.bad.append((name, d["shape"], got.shape))
            return
        want = self.t[k].reshape(-1).astype(np.float64)
        g = got.reshape(-1)[::d.get("stride", 1)].astype(np.float64)
        err = float(np.abs(g - want).max()) if g.size else 0.0
        tol = d["tolerance"] if isinstance(d["tolerance"], dict) else {"abs": 0.0}
        r = err / tol["abs"] if tol["abs"] else (0.0 if err == 0 else 9.9)
        self.worst = max(self.worst, (r, name))
        if d.get("rms"):
            self.rel = max(self.rel, (err / d["rms"], name))
            if abs(np.sqrt((got.astype(np.float64) ** 2).mean()) / d["rms"] - 1) > 1e-4:
                self.bad.append((name, "rms"))
        if r > 1:
            self.bad.append((name, err, tol))

    def mask(self, name, bits):
        for suf in ("rle", "bits", "area"):
            d = self.e["outputs"].get(f"{name}.{suf}")
            if d is None:
                continue
            self.seen.add(f"{name}.{suf}")
            self.n += 1
            if suf == "rle":
                f, v = np.zeros(bits.size, bool), False
                o = 0
                for c in self.t[f"out.{name}.rle"]:
                    f[o:o + c] = v
                    o += c
                    v = not v
                want = f.reshape(bits.shape[::-1]).T
            elif suf == "bits":
                want = np.unpackbits(self.t[f"out.{name}.bits"])[:bits.size].reshape(bits.shape).astype(bool)
            else:
                if abs(int(bits.sum()) - d["area"]) > max(4, d["tolerance"]["pixels_with_logit_within_1e-3_std_of_0"]):
                    self.bad.append((name, d["area"], int(bits.sum())))
                return
            iou = (want & bits).sum() / max(1, (want | bits).sum())
            if iou < d["tolerance"]["mask_iou_min"] or int(want.sum()) != d["area"]:
                self.bad.append((name, "mask iou", iou))


def verify_model(e, root, get):
    ck = Checker(root, e)
    N = Numpy(e["architecture"], get)
    out = {}
    img = picture_of(e["inputs"]["image"])
    x = N.preprocess(img, N.c["image_size"])
    out["preprocessed"] = x
    emb, hi = N.encode(x.astype(N.dtype), out)
    out["dense_pe"] = N.dense_pe().transpose(2, 0, 1)[None]
    for k in [k for k in out]:
        ck(k, out[k])
    prev = None
    hw = img.shape[:2]
    for k, p in enumerate(e["inputs"]["prompts"]["value"]):
        o = {}
        sp = N.sparse(hw, p.get("points"), p.get("labels"), p.get("box"))
        o["sparse"] = sp[None]
        mi = p.get("mask_input")
        if mi and "previous" in mi:
            mi = prev[mi["mask"]]
        elif mi:
            mi = blocky_of(mi["procedural"])[0]
        de = N.dense(mi) if mi is not None else N.w("sam_prompt_encoder.no_mask_embed.weight", 1, N.c["d_model"])[0]
        if mi is not None:
            o["dense"] = de.transpose(2, 0, 1)[None]
        low, iou, _ = N.decode(emb, hi, sp, de, o)
        low, iou = N.select(low, iou, p["multimask"], o)
        prev = np.clip(low, -32, 32)
        o["low_res_logits"], o["iou"] = prev, iou
        o["logits"] = N.bilinear(N.bilinear(low, hw[1], 2), hw[0], 1)
        for n, v in o.items():
            ck(f"p{k}.{n}", v)
        for j in range(len(low)):
            ck.mask(f"p{k}.mask{j}", o["logits"][j] > 0)
    return ck


def verify_batch(e, root, get):
    ck = Checker(root, e)
    N = Numpy(e["architecture"], get)
    img = picture_of(e["inputs"]["image"])
    hw = img.shape[:2]
    emb, hi = N.encode(N.preprocess(img, N.c["image_size"]), {})
    env = {n: ck.t["in." + n] for n in ("points", "boxes", "labels", "outside", "unit")}
    env["masks"] = blocky_of(e["inputs"]["masks"]["procedural"])
    for n, c in e["inputs"]["cases"]["value"].items():
        a = {k: env[v] if isinstance(v, str) else (np.array(v) if isinstance(v, list) else v) for k, v in c.items()}
        pts, lab, box, mk = (a.get(k) for k in ("point_coords", "point_labels", "box", "mask_input"))
        batched = (pts is not None and pts.ndim == 3) or (box is not None and box.ndim == 2)
        lows, ious = [], []
        for i in range(len(pts if pts is not None else box) if batched else 1):
            g = lambda t: t if t is None or not batched else t[i]
            sp = N.sparse(hw, g(pts), g(lab), g(box), unit=a.get("normalize_coords") is False)
            de = N.dense(mk[i][0]) if mk is not None else N.w("sam_prompt_encoder.no_mask_embed.weight", 1, N.c["d_model"])[0]
            low, iou, _ = N.decode(emb, hi, sp, de, {})
            low, iou = N.select(low, iou, a["multimask_output"], {})
            lows.append(low)
            ious.append(iou)
        low, iou = (np.stack(lows), np.stack(ious)) if batched else (lows[0], ious[0])
        ck(f"{n}.low_res_logits", np.clip(low, -32, 32))
        ck(f"{n}.iou", iou)
        ck(f"{n}.logits", N.bilinear(N.bilinear(low, hw[1], low.ndim - 1), hw[0], low.ndim - 2))
    return ck


def verify_small(e, root):
    ck = Checker(root, e)
    N = Numpy({}, None)
    f = e["file"]
    if f.startswith("preprocess"):
        for p in e["inputs"]["pictures"]["value"]:
            h, w = p["hw"]
            ck(f"{h}x{w}to{p['size']}", N.preprocess(P.u8image(p["name"], h, w, 16), p["size"])[0])
        pts = ck.t["in.points"]
        ck("coords", (pts / np.array([523, 377], np.float32)).astype(np.float32) * np.float32(1024))
    elif f.startswith("pos_embed"):
        for c in e["inputs"]["cases"]["value"]:
            T = lambda d: P.tensor(d["name"], d["shape"], 0.0, d["b"]).astype(np.float64)
            ck(c["case"], N.pos(T(c["bkg"]), T(c["window"]), c["grid"]))
    elif f.startswith("dynamic"):
        lg, iou = ck.t["in.logits"], ck.t["in.iou"]
        r = []
        for i in range(len(lg)):
            o = {}
            a, b = N.select(lg[i], iou[i], False, o)
            r.append((a, b, np.float32(o["stability"])))
        ck("masks", np.stack([a for a, _, _ in r]))
        ck("iou", np.stack([b for _, b, _ in r]))
        ck("stability", np.array([[s] for _, _, s in r], np.float32))
    elif f.startswith("postprocess"):
        lg = blocky_of(e["inputs"]["logits"]["procedural"])
        for n, d in e["outputs"].items():
            h, w = d["shape"][2:]
            x = lg.copy()
            if n.startswith("clean"):
                area = int(n.rsplit("_", 1)[1])
                for i in range(2):
                    for j in range(3):
                        for sign in (False, True):
                            for comp in components((lg[i, j] > 0) == sign):
                                if len(comp) <= area:
                                    for y, z in comp:
                                        x[i, j, y, z] = -10.0 if sign else 10.0
            ck(n, N.bilinear(N.bilinear(x.astype(np.float64), w, 3), h, 2))
    return ck


def components(m):
    """8-connected components of a small boolean array"""
    m = m.copy()
    for y in range(m.shape[0]):
        for x in range(m.shape[1]):
            if not m[y, x]:
                continue
            m[y, x] = False
            q, comp = [(y, x)], []
            while q:
                a, b = q.pop()
                comp.append((a, b))
                for c in range(max(a - 1, 0), min(a + 2, m.shape[0])):
                    for d in range(max(b - 1, 0), min(b + 2, m.shape[1])):
                        if m[c, d]:
                            m[c, d] = False
                            q.append((c, d))
            yield comp


def verify_formats(e, root):
    """every file through the numpy model; Hugging Face's names are mapped back with hf_name"""
    from safetensors.numpy import load_file
    base = os.path.join(root, "formats")
    res = []
    for f in sorted(e["weights"]["files"]):
        if f.endswith(".pt"):
            try:
                import torch
            except ImportError:
                continue
            sd = {k: v.numpy() for k, v in torch.load(os.path.join(base, f), weights_only=True)["model"].items()}
            get = lambda k, s: sd[k]
        elif f.endswith("/"):
            sd = {}
            for part in sorted(os.listdir(os.path.join(base, f))):
                if part.endswith(".safetensors"):
                    sd.update(load_file(os.path.join(base, f, part)))

            def get(k, s):
                if ".point_embeddings." in k:
                    i = int(k.split(".")[2])
                    return sd["prompt_encoder.point_embed.weight"][i:i + 1]
                return sd[hf_name(k)]
        else:
            sd = load_file(os.path.join(base, f))
            get = lambda k, s: sd[k]
        ck = Checker(root, e)
        N = Numpy(e["architecture"], get)
        img = picture_of(e["inputs"]["image"])
        out = {}
        emb, hi = N.encode(N.preprocess(img, N.c["image_size"]), out)
        for k in ("image_embedding", "high_res0", "high_res1"):
            ck(k, out[k])
        v = {k: d.get("value") for k, d in e["inputs"].items()}
        nm = N.w("sam_prompt_encoder.no_mask_embed.weight", 1, N.c["d_model"])[0]
        for n, a, multi in (("points", dict(points=v["points"], labels=v["labels"]), True), ("single", dict(points=v["points"], labels=v["labels"]), False), ("box", dict(box=v["box"]), True),
                            ("mask", dict(points=v["points"], labels=v["labels"]), True)):
            o = {}
            low, iou, _ = N.decode(emb, hi, N.sparse(img.shape[:2], **a), N.dense(blocky_of(e["inputs"]["mask"]["procedural"])[0]) if n == "mask" else nm, o)
            low, iou = N.select(low, iou, multi, o)
            ck(f"{n}.low_res_logits", np.clip(low, -32, 32))
            ck(f"{n}.iou", iou)
            ck(f"{n}.object_score", o["object_score"])
            ck(f"{n}.logits", N.bilinear(N.bilinear(low, img.shape[1], 2), img.shape[0], 1))
        used = N.cache.keys()
        res.append((f, ck, len(used)))
    return res


def verify_amg(e, root, ref):
    """a fresh run of the reference with the stored options"""
    import torch
    import common
    import models as M
    from PIL import Image
    sys.path.insert(0, common.Refs(ref).dir("sam2"))
    M.no_init()
    torch.set_grad_enabled(False)
    from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
    doc = json.load(open(os.path.join(root, e["file"])))
    cfg = {k: e["architecture"][k] for k in AMGC}
    m = fill2(build_parts(cfg), e["weights"]["prefix"], e["weights"]["overrides"])
    g = SAM2AutomaticMaskGenerator(m, output_mode="uncompressed_rle", **doc["options"])
    fit(g.predictor)
    pic = np.array(Image.open(os.path.join(root, e["inputs"]["image"]["file"])))
    if doc["options"].get("min_mask_region_area"):
        with Components():
            r = g.generate(pic)
    else:
        r = g.generate(pic)
    ok = len(r) == len(doc["records"]) and all(a["segmentation"]["counts"] == b["segmentation"]["counts"] and a["bbox"] == b["bbox"] and a["point_coords"] == b["point_coords"]
                                               and abs(a["predicted_iou"] - b["predicted_iou"]) < 1e-6 for a, b in zip(r, doc["records"]))
    return ok, len(r)


def verify(a):
    fail = 0
    for root in a.verify:
        idx = json.load(open(os.path.join(root, "index.json")))
        size = sum(os.path.getsize(os.path.join(r, f)) for r, _, fs in os.walk(root) for f in fs)
        print(f"{root}: {len(idx['fixtures'])} entries, {size / 1e6:.2f} MB")
        txt = open(os.path.join(root, "index.json")).read()
        assert not any(b in txt for b in ("/tmp/", "/work/", "/home/", "/root/"))
        for e in idx["fixtures"]:
            f = e["file"]
            if a.only and not any(f.startswith(x) for x in a.only.split(",")):
                continue
            t0 = time.time()
            if f.startswith("run_"):
                if os.path.isdir(a.ref):
                    ok, n = verify_amg(e, root, a.ref)
                    print(f"  {'ok  ' if ok else 'FAIL'} {f}: {n} records from a fresh run of the reference, {time.time() - t0:.0f}s", flush=True)
                    fail += not ok
                continue
            if f.startswith("formats_"):
                for name, ck, used in verify_formats(e, root):
                    print(f"  {'FAIL' if ck.bad else 'ok  '} formats/{name}: {ck.n} outputs, {used} tensors used, worst error/tolerance {ck.worst[0]:.4f} ({ck.worst[1]})", *ck.bad[:3], flush=True)
                    fail += bool(ck.bad)
                continue
            if "architecture" in e:
                pre, ovr = e["weights"]["prefix"], e["weights"].get("overrides", ())

                def get(k, s):
                    v = weight2(k, s, pre)
                    apply_overrides2(lambda kk: v, [o for o in ovr if o["key"] == k])
                    return v
                ck = (verify_batch if "batch" in f else verify_model)(e, root, get)
            else:
                ck = verify_small(e, root)
            left = [n for n in e["outputs"] if n not in ck.seen and not n.startswith("hf_")]
            print(f"  {'FAIL' if ck.bad or left else 'ok  '} {f}: {ck.n} outputs, worst error/tolerance {ck.worst[0]:.4f} ({ck.worst[1]}), worst error/rms {ck.rel[0]:.1e} ({ck.rel[1]}), "
                  f"{time.time() - t0:.0f}s", *ck.bad[:4], *left[:6], flush=True)
            fail += bool(ck.bad or left)
    print("all equal" if not fail else f"{fail} FAILED")
    sys.exit(1 if fail else 0)


# ----------------------------------------------------------------------- main


def generate(a):
    import torch
    import common
    import models as M
    refs = common.Refs(a.ref)
    sys.path.insert(0, refs.dir("sam2"))
    M.no_init()
    torch.set_grad_enabled(False)
    st = common.Set(a.out, a.set)
    op = a.set == "open"
    want = lambda n: a.only is None or n in a.only.split(",")
    for n, f in (("pre", preprocess2), ("pos", posembed2), ("dyn", dynamic2), ("post", post2), ("amg", amg2), ("formats", formats2)):
        if want(n):
            print(n, flush=True)
            f(st)
    unstable = [{"key": "sam_mask_decoder.output_hypernetworks_mlps.0.layers.2." + s, "op": "scale", "value": 0.125} for s in ("weight", "bias")]
    if want("tiny"):
        cfg, nm = (TINY, "tiny") if op else (TINYH, "tinyh")
        m = fill2(build_parts(cfg), st.prefix)
        deep = (0, 1, 4, 5, 7) if op else (3, 6)
        sq = (96, 96) if op else (150, 150)
        run2(st, nm, m, cfg, "square", sq, 16, pick2(*sq, ["points_neg", "refine", "box_points", "mask_point"] if op else ["box_points", "point_single", "mask_only"], not op), deep=deep, f64=True)
        for tag, hw, cell in (("landscape", (75, 166), 16), ("portrait", (301, 97), 24)) if op else (("landscape", (211, 640), 48), ("portrait", (129, 51), 16), ("strip", (7, 300), 16)):
            run2(st, nm, m, cfg, tag, hw, cell, pick2(*hw, ALL, not op), f64=op and tag == "landscape")
        batch2(st, m, nm, cfg)
        m = fill2(build_parts(cfg), st.prefix, unstable)
        run2(st, nm, m, cfg, "unstable", (120, 90), 16, pick2(120, 90, ["point_single", "box", "box_points", "mask_point", "point_multi"], not op), ovr=unstable)
    if op:
        plan = {"t": [("landscape", (240, 320), 32, ALL, True, ()), ("unstable", (300, 225), 32, ["point_single", "box", "mask_point"], False, unstable)],
                "s": [("portrait", (320, 213), 32, ["point_multi", "refine", "box_points"], True, ())],
                "b+": [("landscape", (375, 500), 48, ["points_neg", "refine", "box", "mask_only"], True, ()), ("large", (1200, 1600), 96, ["point_multi", "box_points"], False, ())],
                "l": [("square", (256, 256), 32, ["point_multi", "refine", "box"], True, ())]}
    else:
        plan = {"t": [("large", (1333, 1000), 96, ["points_neg", "box", "mask_only"], False, ())],
                "s": [("landscape", (213, 320), 32, ["points_neg", "box", "float_points", "no_prompt"], False, ())],
                "b+": [("portrait", (400, 267), 32, ["box_multi", "refine", "label_minus1"], False, ()), ("unstable", (200, 300), 32, ["point_single", "box"], False, unstable)],
                "l": [("landscape", (300, 400), 48, ["points_neg", "box_points", "mask_point"], False, ())]}
    for n, rows in plan.items():
        if not want(n):
            continue
        for tag, hw, cell, names, f64, ovr in rows:
            m = fill2(build_real(n), st.prefix, ovr)
            print(f"  {n} {tag}", flush=True)
            run2(st, n, m, REAL[n], tag, hw, cell, pick2(*hw, names, not op), f64=f64 and not a.no_f64, ovr=ovr)
            del m


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--ref", default="../ref")
    ap.add_argument("--out")
    ap.add_argument("--set", choices=["open", "second"], default="open")
    ap.add_argument("--only", default=None)
    ap.add_argument("--no-f64", action="store_true")
    ap.add_argument("--verify", nargs="+")
    ap.add_argument("--f32", action="store_true", help="--verify in float32: faster, less exact")
    ap.add_argument("--check", action="store_true", help="print the check vectors of the rules")
    a = ap.parse_args()
    if a.check:
        for key, shape in CHECK2:
            rid, aa, bb = rule2(key, shape)
            v = weight2(key, shape).reshape(-1)
            idx = sorted({0, 1, 2, v.size // 2, v.size - 1})
            print(f"| {rid} | `{key}` | {list(shape)} | {float(np.float32(aa)):.9g} | {float(np.float32(bb)):.9g} | "
                  + "; ".join(f"{i}: {float(v[i]):.9g} (`{np.asarray(v[i]).view(np.uint32):08x}`)" for i in idx) + " |")
    elif a.verify:
        Numpy.dtype = np.float32 if a.f32 else np.float64
        verify(a)
    else:
        generate(a)
