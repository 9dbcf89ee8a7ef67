"""groups clip_vit, clip_resnet, clip_text"""
import time

import numpy as np
import torch

import models as M
import procedural as P
from common import free, rel_tol, rms

NOTE_CS = ("fresh model per fixture: the reference overwrites visual.positional_embedding with the "
           "interpolated one on the first call with another grid size")


def image_input(fx, key, batch, size, cell, seedtag=""):
    name = fx.set.prefix + key
    shape = (batch, 3, size, size)
    fx.inputs["image"] = {"procedural": {"formula": "blocky", "name": name, "shape": list(shape),
                                         "cell": cell, "b_block": 1.5, "b_noise": 0.75},
                          "note": "already normalised NCHW float32"}
    return torch.from_numpy(P.blocky(name, shape, cell))


def capture(m, kind):
    """per-block outputs as N,L,D clones (the surgery model modifies them in place)"""
    got = {}

    def blk(i):
        def f(_m, _i, o):
            if isinstance(o, list):
                got[f"block{i}.new"] = o[0].detach().clone().permute(1, 0, 2)
                got[f"block{i}.ori"] = o[1].detach().clone().permute(1, 0, 2)
            else:
                got[f"block{i}"] = o.detach().clone().permute(1, 0, 2)
        return f

    v = m.visual
    v.conv1.register_forward_hook(lambda _m, _i, o: got.__setitem__("conv1", o.detach().clone()))
    v.ln_pre.register_forward_hook(lambda _m, _i, o: got.__setitem__("ln_pre", o.detach().clone()))
    for i, b in enumerate(v.transformer.resblocks):
        b.register_forward_hook(blk(i))
    v.ln_post.register_forward_hook(lambda _m, _i, o: got.__setitem__("ln_post", o.detach().clone()))
    return got


def capture_rn(m):
    got = {}
    v = m.visual

    def h(name):
        return lambda _m, _i, o: got.__setitem__(name, o.detach().clone())
    v.avgpool.register_forward_hook(h("stem"))
    for ln in ("layer1", "layer2", "layer3", "layer4"):
        for i, b in enumerate(getattr(v, ln)):
            b.register_forward_hook(h(f"{ln}.{i}"))
    return got


@torch.no_grad()
def image_fixture(st, refs, kind, arch, size, group, tag="", batch=1, cell=32, key="input/image",
                  full=False, f64=False, base=2e-4):
    t0 = time.time()
    nm = f"{kind}_{arch.replace('/', '-').replace('@', '-')}_{size}{tag}"
    ref = {"plain": "xmed-lab/CLIP_Surgery clip/clip_model.py:CLIP.encode_image (all tokens)",
           "cs": "xmed-lab/CLIP_Surgery clip/clip_surgery_model.py:CLIPSurgery.encode_image",
           "openai": "openai/CLIP clip/model.py:CLIP.encode_image (pooled vector)"}[kind]
    fx = st.fixture(group, nm, reference=ref, architecture=M.arch_dict(arch),
                    weights={"procedural": True, "prefix": st.prefix},
                    description=f"{kind} {arch} image tower, input {batch}x3x{size}x{size}"
                                + ("; " + NOTE_CS if kind == "cs" else ""))
    img = image_input(fx, key, batch, size, cell)
    m = M.clip_model(refs, kind, arch, st.prefix, "image")
    rn = hasattr(m.visual, "attnpool")
    got = (capture_rn(m) if rn else capture(m, kind)) if full else {}
    y = m.encode_image(img.clone())
    noise = None
    if f64:
        for x in m.modules():
            x._forward_hooks.clear()
        if hasattr(m.visual, "positional_embedding"):
            m.visual.positional_embedding.data = torch.from_numpy(
                P.weight("visual.positional_embedding", (M.CLIP_ARCH[arch][1] // M.CLIP_ARCH[arch][4]) ** 2 + 1
                         and ((M.CLIP_ARCH[arch][1] // M.CLIP_ARCH[arch][4]) ** 2 + 1, M.CLIP_ARCH[arch][3]), st.prefix))
        elif rn:
            n = (M.CLIP_ARCH[arch][1] // 32) ** 2 + 1
            m.visual.attnpool.positional_embedding.data = torch.from_numpy(
                P.weight("visual.attnpool.positional_embedding", (n, M.CLIP_ARCH[arch][3] * 32), st.prefix))
        y64 = M.to_double(m).encode_image(img.double())
        noise = float((y64 - y.double()).abs().max())
        assert noise < 1e-2 * rms(y), noise
    tol = rel_tol(rms(y), noise, base)
    if noise is not None:
        tol["reference_f32_vs_f64_max_abs"] = noise
    big = y.numel() > 20000
    fx.output("features", y, stride=97 if big else 1, rows=big and y.dim() == 3, tol=tol,
              note="before L2 normalisation; [N, 1+grid*grid, embed], token 0 = class token" if y.dim() == 3
              else "[N, embed]")
    if y.dim() == 3:
        c = y[0] / y[0].norm(dim=-1, keepdim=True)
        fx.output("cosine_cls_to_tokens", c[0] @ c[1:].T, tol={"abs": 1e-4},
                  note="cosine of normalised token 0 with each normalised patch token (batch item 0)")
    for k, v in got.items():
        fx.output(k, v, tol=rel_tol(rms(v), None, base))
    fx.save()
    print(f"    rms {rms(y):.3f} noise {noise} {time.time() - t0:.1f}s", flush=True)
    del m
    free()
    return y


@torch.no_grad()
def mutation_fixture(st, refs):
    """two calls with different grids on ONE surgery model (see NOTE_CS)"""
    fx = st.fixture("clip_vit", "cs_tiny_sequence_96_64", reference="xmed-lab/CLIP_Surgery clip/clip_surgery_model.py:VisionTransformer.forward",
                    architecture=M.arch_dict("tiny"), weights={"procedural": True, "prefix": st.prefix},
                    description="encode_image at 96x96 and THEN at 64x64 on the same model object: the second call "
                                "uses the position table resized twice (4->6->4). Informative: a port that keeps the "
                                "original table is right to differ from `second`, and must then match `second_fresh`.")
    name = st.prefix + "input/image"
    m = M.clip_model(refs, "cs", "tiny", st.prefix, "image")
    outs = []
    for s, k in ((96, "first_image"), (64, "second_image")):
        shape = (1, 3, s, s)
        fx.inputs[k] = {"procedural": {"formula": "blocky", "name": f"{name}/{s}", "shape": list(shape), "cell": 16,
                                       "b_block": 1.5, "b_noise": 0.75}}
        outs.append(m.encode_image(torch.from_numpy(P.blocky(f"{name}/{s}", shape, 16))))
    m = M.clip_model(refs, "cs", "tiny", st.prefix, "image")
    fresh = m.encode_image(torch.from_numpy(P.blocky(f"{name}/64", (1, 3, 64, 64), 16)))
    assert (fresh - outs[1]).abs().max() > 1e-3
    fx.output("first", outs[0], tol=rel_tol(rms(outs[0])))
    fx.output("second", outs[1], tol=rel_tol(rms(outs[1])))
    fx.output("second_fresh", fresh, tol=rel_tol(rms(fresh)))
    fx.save()


def clip_vit(st, refs, only=None):
    F = lambda *a, **k: image_fixture(st, refs, *a, group="clip_vit", **k)
    if st.name == "open":
        a = F("plain", "tiny", 64, full=True, f64=True, cell=16, batch=2)
        b = F("openai", "tiny", 64, f64=True, cell=16, batch=2)
        assert (a[:, 0] - b).abs().max() < 1e-5
        F("cs", "tiny", 64, full=True, f64=True, cell=16, batch=2)
        F("cs", "tiny", 128, full=True, f64=True, cell=16)
        F("cs", "tiny", 48, full=True, f64=True, cell=16)
        mutation_fixture(st, refs)
        F("plain", "ViT-B/16", 224, f64=True)
        F("openai", "ViT-B/16", 224)
        F("cs", "ViT-B/16", 224, f64=True)
        F("cs", "ViT-B/16", 512, f64=True)
        F("plain", "ViT-B/32", 224)
        F("cs", "ViT-B/32", 224, f64=True)
        F("plain", "ViT-L/14", 224)
        F("cs", "ViT-L/14", 224)
    else:
        F("plain", "tiny", 64, full=True, f64=True, cell=16)
        F("openai", "tiny", 64, cell=16, batch=3)
        F("cs", "tiny", 64, full=True, f64=True, cell=16)
        F("cs", "tiny", 112, f64=True, cell=16, batch=2)
        F("cs", "tiny", 32, f64=True, cell=16)
        mutation_fixture(st, refs)
        F("plain", "ViT-B/16", 224)
        F("cs", "ViT-B/16", 320, f64=True)
        F("cs", "ViT-B/16", 192)
        F("openai", "ViT-B/32", 224)
        F("cs", "ViT-B/32", 448, f64=True)
        F("cs", "ViT-L/14", 224)
        F("openai", "ViT-L/14@336px", 336)
        F("cs", "ViT-L/14@336px", 336)


def clip_resnet(st, refs, only=None):
    F = lambda *a, **k: image_fixture(st, refs, *a, group="clip_resnet", **k)
    if st.name == "open":
        a = F("plain", "tinyRN", 128, full=True, f64=True, cell=16)
        b = F("openai", "tinyRN", 128, cell=16)
        assert (a[:, 0] - b).abs().max() < 1e-5
        F("cs", "tinyRN", 128, full=True, f64=True, cell=16)
        F("cs", "tinyRN", 192, cell=16, batch=2)
        F("plain", "tinyRN", 64, tag="_resized", cell=16)
        F("plain", "RN50", 224, f64=True)
        F("openai", "RN50", 224)
        F("cs", "RN50", 224, f64=True)
        F("cs", "RN50", 512, f64=True)
        F("cs", "RN50x4", 288)
    else:
        F("cs", "tinyRN", 160, full=True, cell=16)
        F("plain", "tinyRN", 256, cell=16, batch=2)
        F("openai", "RN101", 224)
        F("cs", "RN101", 224, f64=True)
        F("cs", "RN50", 320)
        F("plain", "RN50x4", 288)
        F("cs", "RN50x16", 384)
        F("cs", "RN50x64", 448)


# ---------------------------------------------------------------------- text
TEXTS_OPEN = ["a photo of a cat.", "a", "", "bench", "a bad photo of the tv monitor.",
              "Two dogs & a person's bicycle, near the potted plant -- 12 metres away!",
              "the quick brown fox jumps over the lazy dog " * 12]
TEXTS_SECOND = ["itap of my shoes.", "sky", " ", "PERSON+BENCH", "graffiti of the motorbike, in 3D!!",
              "un café près de la gare, s'il vous plaît", "one two three four five six seven " * 15]
CLASSES = ["airplane", "bag", "bed", "bedclothes", "bench", "bicycle", "bird", "boat", "book", "bottle",
           "building", "bus", "cabinet", "car", "cat", "ceiling", "chair", "cloth", "computer", "cow", "cup",
           "curtain", "dog", "door", "fence", "floor", "flower", "food", "grass", "ground", "horse", "keyboard",
           "light", "motorbike", "mountain", "mouse", "person", "plate", "platform", "potted plant", "road",
           "rock", "sheep", "shelves", "sidewalk", "sign", "sky", "snow", "sofa", "table", "track", "train",
           "tree", "truck", "tv monitor", "wall", "water", "window", "wood"]


@torch.no_grad()
def clip_text(st, refs, only=None):
    texts = TEXTS_OPEN if st.name == "open" else TEXTS_SECOND
    cfg = [("tiny", 6), ("ViT-B/32", 2), ("ViT-L/14", 0)]
    if st.name == "second":
        cfg += [("RN50x64", 0), ("RN50x4", 0)]
    for arch, nens in cfg:
        m = M.clip_model(refs, "plain", arch, st.prefix, "text")
        fx = st.fixture("clip_text", f"text_{arch.replace('/', '-')}",
                        reference="openai/CLIP clip/model.py:CLIP.encode_text (same code in xmed-lab/CLIP_Surgery)",
                        architecture=M.arch_dict(arch), weights={"procedural": True, "prefix": st.prefix},
                        description="encode_text of token ids (tokenize(..., truncate=True)); not normalised")
        tk = refs.surgery.tokenize(texts, truncate=True)
        fx.input("ids", tk, note="I32 [T,77], zero padded; pooling at argmax(id) = first end-of-text (49407)")
        fx.value("texts", texts)
        y = m.encode_text(tk)
        ym = M.to_double(m).encode_text(tk)
        noise = float((ym - y.double()).abs().max())
        fx.output("text_features", y, tol=dict(rel_tol(rms(y), noise), reference_f32_vs_f64_max_abs=noise))
        fx.save()
        m = m.float()
        if nens:
            names = (["bench", "person", "ground", "building", "tv monitor", ""] if st.name == "open"
                     else ["shoes", "potted plant", "sky", "motorbike", "", "Hot-Dog stand"])[:nens]
            fx = st.fixture("clip_text", f"ensemble_{arch.replace('/', '-')}",
                            reference="xmed-lab/CLIP_Surgery clip/clip.py:encode_text_with_prompt_ensemble",
                            architecture=M.arch_dict(arch), weights={"procedural": True, "prefix": st.prefix},
                            description="85 default templates per name; mean of normalised embeddings, normalised again")
            fx.value("texts", names)
            m = M.clip_model(refs, "plain", arch, st.prefix, "text")
            y = refs.surgery.encode_text_with_prompt_ensemble(m, names, "cpu")
            fx.output("text_features", y, tol={"abs": 2e-5}, note="[T, embed], unit rows")
            y2 = refs.surgery.encode_text_with_prompt_ensemble(m, names[:1], "cpu", ["{}", "a photo of a {}.", "the {} {}"[:6]])
            fx.value("custom_templates", ["{}", "a photo of a {}.", "the {}"])
            fx.output("custom_template_features", y2, tol={"abs": 2e-5}, note="names[0] with custom_templates")
            fx.save()
        del m
        free()
