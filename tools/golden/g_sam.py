"""group sam: image encoders, prompt encoder, mask decoder, post-processing"""
import time

import numpy as np
import torch

import models as M
import procedural as P
from common import free, rel_tol, rms

SA = "facebookresearch/segment-anything segment_anything/"
MS = "ChaoningZhang/MobileSAM mobile_sam/"
REAL = {
    "vit_b": dict(embed_dim=768, depth=12, num_heads=12, global_attn_indexes=[2, 5, 8, 11]),
    "vit_l": dict(embed_dim=1024, depth=24, num_heads=16, global_attn_indexes=[5, 11, 17, 23]),
    "vit_h": dict(embed_dim=1280, depth=32, num_heads=16, global_attn_indexes=[7, 15, 23, 31]),
}


def arch(name):
    if name == "tiny":
        return dict(M.SAM_TINY, name="tiny")
    if name == "vit_t":
        return dict(name="vit_t (MobileSAM TinyViT)", img_size=1024, embed_dims=[64, 128, 160, 320], depths=[2, 2, 6, 2],
                    num_heads=[2, 4, 5, 10], window_sizes=[7, 7, 14, 7], out_chans=256, mask_in_chans=16)
    return dict(REAL[name], name=name, img_size=1024, patch_size=16, window_size=14, out_chans=256, mask_in_chans=16,
                decoder_heads=8, decoder_mlp=2048)


def rle_counts(mask):
    """column-major run lengths starting with zeros, as utils/amg.py:mask_to_rle_pytorch"""
    f = np.asarray(mask, np.uint8).T.reshape(-1)
    ch = np.flatnonzero(f[1:] != f[:-1]) + 1
    idx = np.concatenate([[0], ch, [f.size]])
    c = np.diff(idx)
    return np.concatenate([[0], c]).astype(np.int32) if f[0] else c.astype(np.int32)


def picture(fx, key, h, w, cell):
    name = fx.set.prefix + key
    fx.inputs["image"] = {"procedural": {"formula": "u8image", "name": name, "shape": [h, w, 3], "cell": cell,
                                         "b_block": 80.0, "b_noise": 24.0}, "note": "uint8 RGB HWC"}
    return P.u8image(name, h, w, cell)


def hooks_tiny(m, got):
    e = m.image_encoder
    reg = []

    def h(name):
        def f(_m, i, o):
            got[name] = o.detach().clone()
        return f

    def hin(name):
        def f(_m, i, o):
            got[name] = i[0].detach().clone()
        return f
    reg.append(e.patch_embed.register_forward_hook(h("enc.patch_embed")))
    for i, b in enumerate(e.blocks):
        reg.append(b.register_forward_hook(h(f"enc.block{i}")))
    reg.append(e.blocks[0].attn.register_forward_hook(h("enc.block0.attn_windows")))
    reg.append(e.blocks[0].attn.register_forward_hook(hin("enc.block0.attn_windows_in")))
    reg.append(e.blocks[1].attn.register_forward_hook(h("enc.block1.attn_global")))
    for i in range(4):
        reg.append(e.neck[i].register_forward_hook(h(f"enc.neck{i}")))
    return reg


def hooks_blocks(m, got, tinyvit):
    """strided samples of every stage of a big encoder"""
    e = m.image_encoder
    reg = []

    def h(name):
        return lambda _m, i, o: got.__setitem__(name, o.detach().clone())
    reg.append(e.patch_embed.register_forward_hook(h("enc.patch_embed")))
    if tinyvit:
        for li, l in enumerate(e.layers):
            for bi, b in enumerate(l.blocks):
                reg.append(b.register_forward_hook(h(f"enc.layer{li}.block{bi}")))
            if l.downsample is not None:
                reg.append(l.downsample.register_forward_hook(h(f"enc.layer{li}.downsample")))
    else:
        for i, b in enumerate(e.blocks):
            reg.append(b.register_forward_hook(h(f"enc.block{i}")))
    return reg


def decoder_hooks(m, got):
    reg = []
    d = m.mask_decoder

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
    reg.append(d.transformer.layers[0].self_attn.register_forward_hook(h("dec.layer0.self_attn")))
    reg.append(d.transformer.layers[0].cross_attn_token_to_image.register_forward_hook(h("dec.layer0.token_to_image")))
    reg.append(d.transformer.register_forward_hook(h("dec.transformer")))
    for i in (0, 1, 3, 4):
        reg.append(d.output_upscaling[i].register_forward_hook(h(f"dec.upscaling{i}")))
    for i, l in enumerate(d.output_hypernetworks_mlps):
        reg.append(l.register_forward_hook(h(f"dec.hyper{i}")))
    return reg


@torch.no_grad()
def run_image(st, refs, model, name, tag, hw, cell, prompts, full=False, f64=False, stride_emb=97):
    t0 = time.time()
    pkg = refs.mobile if name == "vit_t" else refs.sam
    root = MS if name == "vit_t" else SA
    fx = st.fixture("sam", f"{name}_{tag}", reference=root + "predictor.py:SamPredictor.set_image/predict",
                    architecture=arch(name), weights={"procedural": True, "prefix": st.prefix},
                    description=f"picture {hw[0]}x{hw[1]} (HxW); set_image, then the prompts listed in inputs.prompts; "
                                "every prompt k gives pK.* outputs")
    img = picture(fx, f"input/sam/{tag}", hw[0], hw[1], cell)
    pr = pkg.SamPredictor(model)
    got = {}
    tiny = name == "tiny"
    reg = hooks_tiny(model, got) if (tiny and full) else hooks_blocks(model, got, name == "vit_t")
    pr.set_image(img)
    for r in reg:
        r.remove()
    t1 = time.time()
    fx.value("input_size", list(pr.input_size))
    fx.value("original_size", list(pr.original_size))
    pre = pr.transform.apply_image(img)
    x = model.preprocess(torch.as_tensor(pre).permute(2, 0, 1).contiguous()[None].float())
    fx.output("preprocessed", x, stride=997 if not tiny else 61, tol={"abs": 2e-6},
              note="resized (PIL bilinear, antialiased), normalised, zero-padded to the right and bottom [1,3,S,S]")
    noise = None
    if f64:
        e64 = model.image_encoder.double()(x.double())
        noise = float((e64 - pr.features.double()).abs().max())
        model.image_encoder.float()
    emb = pr.features
    tol = rel_tol(rms(emb), noise)
    if noise is not None:
        tol["reference_f32_vs_f64_max_abs"] = noise
    fx.output("image_embedding", emb, stride=1 if (tiny and full) else stride_emb, tol=tol, note="[1,C,64,64]")
    for k, v in got.items():
        n = v.numel()
        fx.output(k, v, stride=1 if (tiny and full and n < 40000) else max(1, n // 400) | 1, tol=rel_tol(rms(v)))
    del got
    if full:
        pe = model.prompt_encoder.get_dense_pe()
        fx.output("dense_pe", pe, stride=1 if tiny else 97, tol={"abs": 2e-5}, note="[1,C,h,w]")
    fx.value("prompts", prompts)
    for k, p in enumerate(prompts):
        a = {}
        if "points" in p:
            a["point_coords"] = np.array(p["points"], np.float64)
            a["point_labels"] = np.array(p["labels"], np.int64)
        if "box" in p:
            a["box"] = np.array(p["box"], np.float64)
        if p.get("mask_input"):
            ms = model.prompt_encoder.mask_input_size
            mname = st.prefix + f"input/sam/{tag}/mask{k}"
            cell_m = ms[0] // 8
            mi = P.blocky(mname, (1,) + tuple(ms), cell_m, 6.0, 1.0)
            p["mask_input"] = {"procedural": {"formula": "blocky", "name": mname, "shape": [1] + list(ms), "cell": cell_m,
                                              "b_block": 6.0, "b_noise": 1.0}}
            a["mask_input"] = mi
        dgot = {}
        reg = decoder_hooks(model, dgot) if (full and k < 2) else []
        # capture the prompt embeddings as well
        pg = {}
        r0 = model.prompt_encoder.register_forward_hook(lambda _m, i, o: pg.update(sparse=o[0].clone(), dense=o[1].clone()))
        dec_in = []
        masks, iou, low = pr.predict(multimask_output=p["multimask"], return_logits=True, **a)
        r0.remove()
        for r in reg:
            r.remove()
        fx.output(f"p{k}.sparse", pg["sparse"], tol={"abs": 5e-5}, note="[1,N,C] sparse prompt embeddings")
        if "mask_input" in a:
            fx.output(f"p{k}.dense", pg["dense"], stride=1 if (tiny and full) else 97, tol=rel_tol(rms(pg["dense"])), note="[1,C,h,w]")
        for kk, v in dgot.items():
            n = v.numel()
            fx.output(f"p{k}.{kk}", v, stride=1 if (tiny and n < (40000 if k == 0 else 2000)) else max(1, n // 1000) | 1, tol=rel_tol(rms(v), base=5e-4))
        lowt = torch.from_numpy(low)
        fx.output(f"p{k}.low_res_logits", low, stride=1 if (tiny and full) else (5 if tiny else 17), tol=rel_tol(rms(lowt), base=1e-3),
                  note="[M,4h,4w]")
        fx.output(f"p{k}.iou", iou, tol={"abs": 1e-3}, note="[M]")
        fx.output(f"p{k}.logits", masks, stride=97, tol=rel_tol(rms(torch.from_numpy(masks)), base=1e-3),
                  note="[M,H,W] at the original size, before the threshold")
        bits = masks > model.mask_threshold
        near = [int((np.abs(x) < 1e-3 * x.std()).sum()) for x in masks]
        for j in range(bits.shape[0]):
            c = rle_counts(bits[j])
            d = {"area": int(bits[j].sum()), "hw": list(bits[j].shape),
                 "tolerance": {"mask_iou_min": 0.999, "pixels_with_logit_within_1e-3_std_of_0": near[j]}}
            if c.size * 4 <= (bits[j].size + 7) // 8:
                fx.t[f"out.p{k}.mask{j}.rle"] = c
                fx.outputs[f"p{k}.mask{j}.rle"] = dict(d, shape=[int(c.size)], stored="full",
                                                       note="column-major run lengths, first run = zeros")
            else:
                fx.t[f"out.p{k}.mask{j}.bits"] = np.packbits(bits[j].reshape(-1))
                fx.outputs[f"p{k}.mask{j}.bits"] = dict(d, shape=[(bits[j].size + 7) // 8], stored="full",
                                                        note="row-major bits, 8 per byte, most significant bit first")
        fr = [round(float(b.mean()), 4) for b in bits]
        print(f"    prompt {k}: iou {np.round(iou, 3)} positive {fr}", flush=True)
    fx.save()
    print(f"    enc {t1 - t0:.1f}s total {time.time() - t0:.1f}s noise {noise} emb rms {rms(emb):.3f}", flush=True)
    free()


@torch.no_grad()
def batch_prompts(st, refs, m):
    """predict_torch with a batch of prompts, and unusual prompts, on the tiny SAM"""
    fx = st.fixture("sam", "tiny_batch_prompts", reference=SA + "predictor.py:SamPredictor.predict_torch",
                    architecture=arch("tiny"), weights={"procedural": True, "prefix": st.prefix},
                    description="batched prompts in the model frame (already multiplied by the resize ratio): "
                                "points [B,N,2] + labels [B,N]; boxes [B,4]; no prompt at all; a point with label -1; "
                                "points outside the picture")
    img = picture(fx, "input/sam/batch", 200, 256, 32)
    pr = refs.sam.SamPredictor(m)
    pr.set_image(img)
    pts = torch.tensor([[[30.0, 40.0], [200.0, 10.5]], [[128.0, 64.0], [5.0, 190.0]], [[250.25, 199.0], [100.0, 100.0]]])
    if st.name == "second":
        pts = pts * 0.7 + 11.25
    lab = torch.tensor([[1, 0], [1, 1], [0, 1]], dtype=torch.int)
    box = torch.tensor([[10.0, 20.0, 120.0, 150.0], [0.0, 0.0, 255.0, 199.0], [60.5, 70.25, 61.5, 71.25]])
    lab2 = torch.tensor([[1, -1], [-1, -1], [0, 1]], dtype=torch.int)
    far = torch.tensor([[[-50.0, 400.0]]])
    cases = [("points", dict(point_coords=pts, point_labels=lab, multimask_output=True)),
             ("points_single", dict(point_coords=pts, point_labels=lab, multimask_output=False)),
             ("boxes", dict(point_coords=None, point_labels=None, boxes=box, multimask_output=False)),
             ("points_boxes", dict(point_coords=pts, point_labels=lab, boxes=box, multimask_output=True)),
             ("label_minus1", dict(point_coords=pts, point_labels=lab2, multimask_output=True)),
             ("no_prompt", dict(point_coords=None, point_labels=None, multimask_output=True)),
             ("outside", dict(point_coords=far, point_labels=torch.tensor([[1]], dtype=torch.int), multimask_output=True))]
    fx.input("points", pts)
    fx.input("labels", lab)
    fx.input("boxes", box)
    fx.input("labels_minus1", lab2)
    fx.input("outside", far)
    fx.value("cases", {n: {k: ("points" if k == "point_coords" and n != "outside" else k) if v is not None and not isinstance(v, bool) else v
                           for k, v in c.items()} for n, c in cases})
    for n, c in cases:
        mk, iou, low = pr.predict_torch(return_logits=True, **c)
        fx.output(f"{n}.low_res_logits", low, stride=5, tol=rel_tol(rms(low), base=1e-3), note="[B,M,64,64]")
        fx.output(f"{n}.iou", iou, tol={"abs": 1e-3})
        fx.output(f"{n}.logits", mk, stride=211, tol=rel_tol(rms(mk), base=1e-3), note="[B,M,H,W]")
    fx.save()


def prompts_for(h, w, alt=0):
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
        "box_points": {"box": B, "points": [P1, P3], "labels": [1, 0], "multimask": False},
        "mask_point": {"points": [P2], "labels": [1], "mask_input": True, "multimask": False},
        "mask_only": {"mask_input": True, "multimask": True},
        "float_points": {"points": [[P1[0] + 0.37, P1[1] + 0.81], [0.0, 0.0]], "labels": [0, 1], "multimask": True},
    }


def pick(h, w, names, alt=0):
    d = prompts_for(h, w, alt)
    return [dict(d[n], name=n) for n in names]


@torch.no_grad()
def sam(st, refs, only=None):
    op = st.name == "open"
    want = lambda n: only is None or n in only.split("+")
    allp = ["point_multi", "points_neg", "point_single", "box", "box_points", "mask_point", "mask_only", "float_points"]
    if want("tiny"):
        m = M.sam_tiny(refs, st.prefix)
        if op:
            run_image(st, refs, m, "tiny", "square256", (256, 256), 32, pick(256, 256, ["points_neg", "mask_point"]), full=True, f64=True)
            run_image(st, refs, m, "tiny", "landscape", (150, 333), 32, pick(150, 333, allp))
            run_image(st, refs, m, "tiny", "portrait", (301, 97), 24, pick(301, 97, allp[:6]))
        else:
            run_image(st, refs, m, "tiny", "square200", (200, 200), 32, pick(200, 200, ["box_points", "mask_only"], 1), full=True, f64=True)
            run_image(st, refs, m, "tiny", "landscape", (211, 640), 48, pick(211, 640, allp, 1))
            run_image(st, refs, m, "tiny", "portrait", (129, 51), 16, pick(129, 51, allp, 1))
            run_image(st, refs, m, "tiny", "strip", (7, 300), 16, pick(7, 300, allp[:4], 1))
        batch_prompts(st, refs, m)
    if want("vit_t"):
        m = M.sam_real(refs, "vit_t", st.prefix)
        if op:
            run_image(st, refs, m, "vit_t", "landscape", (375, 500), 48, pick(375, 500, ["point_multi", "box"]), f64=True)
        else:
            run_image(st, refs, m, "vit_t", "portrait", (700, 525), 64, pick(700, 525, ["points_neg", "box_points", "mask_point"], 1), f64=True)
        del m
        free()
    if want("vit_b"):
        m = M.sam_real(refs, "vit_b", st.prefix)
        if op:
            run_image(st, refs, m, "vit_b", "landscape", (480, 640), 64, pick(480, 640, allp), full=True, f64=True)
            run_image(st, refs, m, "vit_b", "portrait", (640, 427), 48, pick(640, 427, ["point_multi", "points_neg", "box"]))
        else:
            run_image(st, refs, m, "vit_b", "square1024", (1024, 1024), 128, pick(1024, 1024, ["point_multi", "box_points", "mask_point"], 1))
            run_image(st, refs, m, "vit_b", "portrait", (1200, 801), 96, pick(1200, 801, ["points_neg", "box", "mask_only", "float_points"], 1))
        del m
        free()
    if not op:
        for n, hw in (("vit_l", (427, 640)), ("vit_h", (375, 500))):
            if want(n):
                m = M.sam_real(refs, n, st.prefix)
                run_image(st, refs, m, n, "landscape", hw, 48, pick(hw[0], hw[1], ["points_neg" if n == "vit_l" else "point_multi", "box"], 1))
                del m
                free()
