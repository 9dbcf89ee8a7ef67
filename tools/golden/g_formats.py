"""group formats: the same tiny CLIP / tiny SAM in every real file format; malformed files"""
import io
import json
import os
import pickle
import shutil
import struct
import warnings
import zipfile
from collections import OrderedDict

import numpy as np
import torch

import models as M
import procedural as P
from common import rel_tol, rms, st_save

ARCH = (64, 32, 7, 64, 8, 77, 512, 64, 1, 1)  # embed, res, layers, width, patch, ctx, vocab, text width/heads/layers
SAM_CFG = dict(M.SAM_TINY, depth=2, global_attn_indexes=[1], iou_head_hidden=64)
RES, VOCAB, EOT = 32, 512, 511


def quant(t):
    """to the common subset of f32, f16 and bf16, so that all formats hold the same numbers"""
    if not t.dtype.is_floating_point:
        return t
    v = t.to(torch.bfloat16).to(torch.float32)
    v[v.abs() < 2.0 ** -14] = 0.0
    assert torch.equal(v.half().float(), v) and torch.equal(v.bfloat16().float(), v)
    return v


def clip_sd(refs, prefix, arch=ARCH):
    m = refs.openai_mod("model").CLIP(*arch).eval()
    P.fill_state_dict(m, prefix + "formats/")
    sd = OrderedDict((k, quant(v)) for k, v in m.state_dict().items())
    return sd


def sd_np(sd, dt):
    return {k: v.to(dt) for k, v in sd.items()}


def save_st(sd, path, meta=None):
    from safetensors.torch import save_file
    os.makedirs(os.path.dirname(path), exist_ok=True)
    save_file({k: v.contiguous() for k, v in sd.items()}, path, metadata=meta)


# ------------------------------------------------------------- CLIP conversions
def hf_clip_sd(sd, dt):
    out = {"logit_scale": sd["logit_scale"],
           "text_model.embeddings.token_embedding.weight": sd["token_embedding.weight"],
           "text_model.embeddings.position_embedding.weight": sd["positional_embedding"],
           "text_model.final_layer_norm.weight": sd["ln_final.weight"],
           "text_model.final_layer_norm.bias": sd["ln_final.bias"],
           "text_projection.weight": sd["text_projection"].t(),
           "visual_projection.weight": sd["visual.proj"].t(),
           "vision_model.embeddings.class_embedding": sd["visual.class_embedding"],
           "vision_model.embeddings.patch_embedding.weight": sd["visual.conv1.weight"],
           "vision_model.embeddings.position_embedding.weight": sd["visual.positional_embedding"],
           "vision_model.pre_layrnorm.weight": sd["visual.ln_pre.weight"],
           "vision_model.pre_layrnorm.bias": sd["visual.ln_pre.bias"],
           "vision_model.post_layernorm.weight": sd["visual.ln_post.weight"],
           "vision_model.post_layernorm.bias": sd["visual.ln_post.bias"]}
    sub = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
           "attn.out_proj": "self_attn.out_proj"}
    for k, v in sd.items():
        for src, dst in (("visual.transformer.resblocks.", "vision_model.encoder.layers."),
                         ("transformer.resblocks.", "text_model.encoder.layers.")):
            if not k.startswith(src):
                continue
            i, rest = k[len(src):].split(".", 1)
            if rest.startswith("attn.in_proj_"):
                kind = rest[len("attn.in_proj_"):]
                for n, part in zip("qkv", v.chunk(3, 0)):
                    out[f"{dst}{i}.self_attn.{n}_proj.{kind}"] = part
            else:
                mod, leaf = rest.rsplit(".", 1)
                out[f"{dst}{i}.{sub[mod]}.{leaf}"] = v
            break
    return {k: v.contiguous().to(dt) for k, v in out.items()}


def make_hf_clip(sd, d, dt, ids, img, ref_img, ref_txt):
    from transformers import CLIPConfig, CLIPModel
    cfg = CLIPConfig(
        text_config=dict(hidden_size=64, intermediate_size=256, num_hidden_layers=ARCH[9], num_attention_heads=1, vocab_size=VOCAB,
                         max_position_embeddings=77, projection_dim=64, hidden_act="quick_gelu", eos_token_id=2, bos_token_id=0, pad_token_id=1),
        vision_config=dict(hidden_size=64, intermediate_size=256, num_hidden_layers=ARCH[2], num_attention_heads=1, image_size=RES,
                           patch_size=8, projection_dim=64, hidden_act="quick_gelu"), projection_dim=64)
    m = CLIPModel(cfg).eval()
    m.load_state_dict(hf_clip_sd(sd, torch.float32), strict=True)
    g = lambda o: o if isinstance(o, torch.Tensor) else o.pooler_output
    yi = g(m.get_image_features(pixel_values=img))
    yt = g(m.get_text_features(input_ids=ids.long()))
    assert (yi - ref_img).abs().max() < 1e-5 and (yt - ref_txt).abs().max() < 1e-5, ((yi - ref_img).abs().max(), (yt - ref_txt).abs().max())
    m.to(dt).save_pretrained(d)


# -------------------------------------------------------------- SAM conversions
def hf_sam_sd(sd):
    out = {}
    pe = sd["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
    out["shared_image_embedding.positional_embedding"] = pe
    out["prompt_encoder.shared_embedding.positional_embedding"] = pe.clone()
    rep = [("image_encoder.", "vision_encoder."), ("patch_embed.proj.", "patch_embed.projection."), ("blocks.", "layers."),
           ("neck.0.", "neck.conv1."), ("neck.1.", "neck.layer_norm1."), ("neck.2.", "neck.conv2."), ("neck.3.", "neck.layer_norm2."),
           ("point_embeddings.", "point_embed."), ("mask_downscaling.0.", "mask_embed.conv1."), ("mask_downscaling.1.", "mask_embed.layer_norm1."),
           ("mask_downscaling.3.", "mask_embed.conv2."), ("mask_downscaling.4.", "mask_embed.layer_norm2."), ("mask_downscaling.6.", "mask_embed.conv3."),
           ("output_upscaling.0.", "upscale_conv1."), ("output_upscaling.1.", "upscale_layer_norm."), ("output_upscaling.3.", "upscale_conv2."),
           (".norm_final_attn.", ".layer_norm_final_attn.")] + [(f".norm{i}.", f".layer_norm{i}.") for i in (1, 2, 3, 4)]
    for k, v in sd.items():
        if "pe_layer" in k:
            continue
        n = k
        for a, b in rep:
            n = n.replace(a, b)
        if "hypernetworks_mlps" in n or "iou_prediction_head" in n:
            n = n.replace("layers.0.", "proj_in.").replace("layers.1.", "layers.0.").replace("layers.2.", "proj_out.")
        out[n] = v
    return out


def make_hf_sam(sd, d, img_t, points, ref_low, ref_iou):
    from transformers import SamConfig, SamModel
    c = SAM_CFG
    cfg = SamConfig(
        vision_config=dict(hidden_size=64, output_channels=64, num_hidden_layers=c["depth"], num_attention_heads=2, image_size=256, patch_size=16,
                           window_size=5, global_attn_indexes=c["global_attn_indexes"], mlp_dim=256, num_pos_feats=32, mlp_ratio=4.0),
        prompt_encoder_config=dict(hidden_size=64, image_size=256, patch_size=16, mask_input_channels=8),
        mask_decoder_config=dict(hidden_size=64, mlp_dim=128, num_hidden_layers=2, num_attention_heads=4, attention_downsample_rate=2,
                                 iou_head_depth=3, iou_head_hidden_dim=c["iou_head_hidden"]))
    m = SamModel(cfg).eval()
    m.load_state_dict(hf_sam_sd(sd), strict=True)
    o = m(pixel_values=img_t, input_points=points[None, None], input_labels=torch.tensor([[[1, 0]]]), multimask_output=True)
    dl = float((o.pred_masks[0, 0] - ref_low).abs().max())
    di = float((o.iou_scores[0, 0] - ref_iou).abs().max())
    print("     HF SAM vs Meta: logits", dl, "iou", di)
    assert dl < 1e-3 and di < 1e-3
    m.half().save_pretrained(d)
    return dl, di


# ------------------------------------------------------------------- malformed
def raw_st(header, data):
    h = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(h)) + h + data


def strip_debug(path):
    """drop the *.debug_pkl records of a TorchScript archive (they name files of this
    machine), keeping torch's 64-byte alignment of the records"""
    with zipfile.ZipFile(path) as z:
        ents = [(n, z.read(n)) for n in z.namelist() if not n.endswith(".debug_pkl")]
    with zipfile.ZipFile(path + ".new", "w", zipfile.ZIP_STORED) as z:
        for n, b in ents:
            zi = zipfile.ZipInfo(n)
            pad = -(z.fp.tell() + 30 + len(n.encode()) + 4) % 64
            zi.extra = struct.pack("<HH", 0x4246, pad) + b"Z" * pad
            z.writestr(zi, b)
    os.replace(path + ".new", path)


class _Evil:
    def __init__(self, fn, args):
        self.r = (fn, args)

    def __reduce__(self):
        return self.r


def zip_with_pickle(path, pkl, tensors=(b"\0" * 16,)):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z:
        z.writestr("archive/data.pkl", pkl)
        z.writestr("archive/byteorder", "little")
        for i, t in enumerate(tensors):
            z.writestr(f"archive/data/{i}", t)
        z.writestr("archive/version", "3\n")


def malformed(st, refs):
    base = os.path.join(st.out, "formats", "malformed")
    shutil.rmtree(base, ignore_errors=True)
    os.makedirs(base)
    rows = []

    def put(name, b, why, expect="reject", kind="safetensors"):
        p = os.path.join(base, name)
        with open(p, "wb") as f:
            f.write(b)
        lib = None
        if kind == "safetensors":
            try:
                from safetensors.numpy import load_file
                load_file(p)
                lib = "accepted"
            except Exception as e:
                lib = f"{type(e).__name__}: {e}"[:140].replace(base, ".")
        elif kind == "torch":
            try:
                torch.load(p, weights_only=True)
                lib = "accepted"
            except Exception as e:
                lib = f"{type(e).__name__}: " + str(e).split("\n")[0][:100].replace(base, ".")
        rows.append({"file": name, "why": why, "expect": expect, "kind": kind, "reference_library": lib})

    a = np.arange(12, dtype=np.float32)
    A = a.tobytes()
    ok = {"a": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]}}
    good = raw_st(ok, A)
    put("ok.safetensors", good, "the well-formed base of the others: a = F32[3,4] = 0..11", "accept")
    put("ok_metadata.safetensors", raw_st({"__metadata__": {"format": "pt"}, **ok}, A), "with __metadata__", "accept")
    put("ok_padded_header.safetensors", raw_st(json.dumps(ok).encode() + b"   ", A), "header padded with spaces", "accept")
    put("ok_empty_tensor.safetensors", raw_st({**ok, "e": {"dtype": "F32", "shape": [0, 7], "data_offsets": [48, 48]}}, A), "zero-size tensor", "accept")
    put("ok_scalar.safetensors", raw_st({"s": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}, A[:4]), "rank 0", "accept")
    put("ok_unordered.safetensors", raw_st({"b": {"dtype": "F32", "shape": [2], "data_offsets": [40, 48]}, "a": {"dtype": "F32", "shape": [10], "data_offsets": [0, 40]}}, A), "header order differs from data order", "accept")
    put("empty_file.safetensors", b"", "0 bytes")
    put("seven_bytes.safetensors", b"\x10\0\0\0\0\0\0", "shorter than the length field")
    put("truncated_data.safetensors", good[:-5], "data cut short")
    put("truncated_header.safetensors", good[:20], "file ends inside the header")
    put("header_len_beyond_file.safetensors", struct.pack("<Q", len(good) * 10) + good[8:], "header length > file size")
    put("header_len_huge.safetensors", struct.pack("<Q", (1 << 63) + 5) + good[8:], "header length 2^63+5: must not allocate")
    put("header_len_max.safetensors", struct.pack("<Q", (1 << 64) - 1) + good[8:], "header length 2^64-1: len+8 overflows")
    put("header_len_zero.safetensors", struct.pack("<Q", 0) + good[8:], "header length 0")
    put("overlap.safetensors", raw_st({"a": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}, "b": {"dtype": "F32", "shape": [8], "data_offsets": [16, 48]}}, A), "overlapping offsets")
    put("hole.safetensors", raw_st({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "b": {"dtype": "F32", "shape": [4], "data_offsets": [32, 48]}}, A), "unused bytes between tensors")
    put("trailing_bytes.safetensors", good + b"xxxx", "bytes after the last tensor")
    put("offsets_beyond.safetensors", raw_st({"a": {"dtype": "F32", "shape": [3, 5], "data_offsets": [0, 60]}}, A), "offsets past the end")
    put("offsets_reversed.safetensors", raw_st({"a": {"dtype": "F32", "shape": [0], "data_offsets": [48, 0]}}, A), "end < begin")
    put("offsets_negative.safetensors", raw_st({"a": {"dtype": "F32", "shape": [3, 4], "data_offsets": [-48, 0]}}, A), "negative offset")
    put("offsets_float.safetensors", raw_st(b'{"a":{"dtype":"F32","shape":[3,4],"data_offsets":[0.0,48.5]}}', A), "non-integer offsets")
    put("offsets_missing.safetensors", raw_st({"a": {"dtype": "F32", "shape": [3, 4]}}, A), "no data_offsets")
    put("shape_negative.safetensors", raw_st({"a": {"dtype": "F32", "shape": [-3, -4], "data_offsets": [0, 48]}}, A), "negative dimensions whose product fits")
    put("shape_overflow.safetensors", raw_st({"a": {"dtype": "F32", "shape": [1 << 62, 16], "data_offsets": [0, 48]}}, A), "element count overflows 64 bits")
    put("shape_overflow_wrap.safetensors", raw_st({"a": {"dtype": "F32", "shape": [(1 << 63) + 6, 2], "data_offsets": [0, 48]}}, A), "element count wraps around to 12 in 64 bits")
    put("shape_mismatch.safetensors", raw_st({"a": {"dtype": "F32", "shape": [3, 5], "data_offsets": [0, 48]}}, A), "shape*dtype != byte count")
    put("dtype_unknown.safetensors", raw_st({"a": {"dtype": "F33", "shape": [3, 4], "data_offsets": [0, 48]}}, A), "unknown dtype string")
    put("dtype_lower.safetensors", raw_st({"a": {"dtype": "f32", "shape": [3, 4], "data_offsets": [0, 48]}}, A), "dtype strings are case-sensitive")
    put("dtype_number.safetensors", raw_st({"a": {"dtype": 5, "shape": [3, 4], "data_offsets": [0, 48]}}, A), "dtype is a number")
    put("duplicate_key.safetensors", raw_st(b'{"a":{"dtype":"F32","shape":[12],"data_offsets":[0,48]},"a":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]}}', A), "the same key twice")
    put("non_utf8_header.safetensors", raw_st(b'{"a\xff\xfe":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]}}', A), "header is not UTF-8")
    put("header_array.safetensors", raw_st([1, 2, 3], A), "header is not an object")
    put("header_garbage.safetensors", raw_st(b"not json at all!", A), "header is not JSON")
    put("header_trailing.safetensors", raw_st(json.dumps(ok).encode() + b"{}", A), "two JSON values")
    put("header_not_brace.safetensors", raw_st(b" " + json.dumps(ok).encode(), A), "the specification wants '{' as the first byte", "either")
    put("deep_nesting.safetensors", raw_st(b'{"a":' + b"[" * 20000 + b"]" * 20000 + b"}", A), "very deep JSON: must not overflow the stack")
    put("metadata_nonstring.safetensors", raw_st({"__metadata__": {"x": 1}, **ok}, A), "__metadata__ values must be strings")

    # checkpoints of a micro CLIP that lack something
    micro = (64, 8, 1, 64, 4, 8, 32, 64, 1, 1)
    sd = sd_np(clip_sd(refs, st.prefix + "micro/", micro), torch.float16)
    p = os.path.join(base, "x")
    for name, edit, why, exp in (
            ("clip_micro_ok.safetensors", lambda s: None, "complete micro CLIP (F16; res 8, patch 4, vision 1 layer x 64, text 1 layer x 64, context 8, vocab 32)", "accept"),
            ("clip_missing_key.safetensors", lambda s: s.pop("visual.transformer.resblocks.0.mlp.c_fc.bias"), "visual.transformer.resblocks.0.mlp.c_fc.bias is missing: the error must name it", "reject"),
            ("clip_wrong_shape.safetensors", lambda s: s.__setitem__("visual.transformer.resblocks.0.mlp.c_fc.weight", s["visual.transformer.resblocks.0.mlp.c_fc.weight"][:255]), "mlp.c_fc.weight is [255,64] instead of [256,64]: the error must name it and both shapes", "reject"),
            ("clip_nan.safetensors", lambda s: s["visual.transformer.resblocks.0.ln_1.weight"].__setitem__(3, float("nan")), "one NaN in visual.transformer.resblocks.0.ln_1.weight", "either (a strict loader rejects)"),
            ("clip_inf.safetensors", lambda s: s["visual.proj"].__setitem__((2, 2), float("inf")), "one +Inf in visual.proj", "either (a strict loader rejects)"),
            ("clip_int_weight.safetensors", lambda s: s.__setitem__("visual.conv1.weight", s["visual.conv1.weight"].to(torch.int8)), "visual.conv1.weight stored as I8", "reject")):
        s = {k: v.clone() for k, v in sd.items()}
        edit(s)
        save_st(s, p)
        put(name, open(p, "rb").read(), why, exp)
    os.remove(p)

    # pickles
    g = io.BytesIO()
    torch.save({"w": torch.arange(4.0)}, g)
    put("ok.pth", g.getvalue(), "well-formed torch.save zip: {'w': 0..3}", "accept", "torch")
    put("zip_truncated.pth", g.getvalue()[:-60], "zip without its end", kind="torch")
    put("zip_half.pth", g.getvalue()[:len(g.getvalue()) // 2], "half of the file", kind="torch")

    def rebuild(pkl, storage):
        zip_with_pickle(os.path.join(base, "tmp"), pkl, storage)
        b = open(os.path.join(base, "tmp"), "rb").read()
        os.remove(os.path.join(base, "tmp"))
        return b

    z = zipfile.ZipFile(io.BytesIO(g.getvalue()))
    pk = z.read([n for n in z.namelist() if n.endswith("data.pkl")][0])
    put("zip_short_storage.pth", rebuild(pk, (b"\0" * 8,)), "storage 0 has 8 bytes, the tensor needs 16", kind="torch")
    put("zip_missing_storage.pth", rebuild(pk, ()), "storage 0 is missing", kind="torch")
    put("zip_garbage_pickle.pth", rebuild(b"\x80\x02garbage", (b"\0" * 16,)), "data.pkl is not a pickle", kind="torch")
    put("zip_truncated_pickle.pth", rebuild(pk[:len(pk) // 2], (b"\0" * 16,)), "data.pkl cut short", kind="torch")
    put("zip_no_pickle.pth", (lambda b: (zipfile.ZipFile(b, "w").writestr("archive/version", "3\n"), b.getvalue())[1])(io.BytesIO()), "no data.pkl", kind="torch")
    ev = pickle.dumps({"w": _Evil(os.system, ("true",))}, 2)
    put("evil_os_system.pth", rebuild(ev, (b"\0" * 16,)), "REDUCE of posix.system('true'): must be refused, never executed", kind="torch")
    put("evil_os_system_raw.pth", rebuild(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.", (b"\0" * 16,)), "GLOBAL 'os system' + REDUCE", kind="torch")
    put("evil_stack_global.pth", rebuild(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", (b"\0" * 16,)), "STACK_GLOBAL + REDUCE (protocol 4)", kind="torch")
    put("evil_inst.pth", rebuild(b"(S'true'\nios\nsystem\n.", (b"\0" * 16,)), "INST opcode (protocol 0)", kind="torch")
    put("evil_obj.pth", rebuild(b"\x80\x02(cos\nsystem\nX\x04\x00\x00\x00trueo.", (b"\0" * 16,)), "OBJ opcode", kind="torch")
    put("evil_newobj.pth", rebuild(b"\x80\x02csubprocess\nPopen\nX\x04\x00\x00\x00true\x85\x81.", (b"\0" * 16,)), "NEWOBJ of subprocess.Popen('true')", kind="torch")
    put("evil_eval.pth", rebuild(b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.", (b"\0" * 16,)), "builtins.eval('1')", kind="torch")
    put("evil_getattr.pth", rebuild(b"\x80\x02cbuiltins\ngetattr\ncos\npath\nX\x04\x00\x00\x00join\x86R.", (b"\0" * 16,)), "builtins.getattr(os.path, 'join')", kind="torch")
    put("evil_legacy.pth", ev, "the os.system pickle as a bare legacy file", kind="torch")
    put("pickle_memo_missing.pth", rebuild(b"\x80\x02h\x05.", (b"\0" * 16,)), "BINGET of an unset memo slot", kind="torch")
    put("pickle_stack_underflow.pth", rebuild(b"\x80\x02uuuR.", (b"\0" * 16,)), "stack underflow", kind="torch")
    put("pickle_long4_huge.pth", rebuild(b"\x80\x02\x8b\xff\xff\xff\x7f.", (b"\0" * 16,)), "LONG4 with a 2 GB length: must not allocate", kind="torch")
    put("pickle_binunicode_huge.pth", rebuild(b"\x80\x02X\xff\xff\xff\xffabc.", (b"\0" * 16,)), "BINUNICODE with a 4 GB length", kind="torch")
    with open(os.path.join(base, "cases.json"), "w") as f:
        json.dump(rows, f, indent=1)
        f.write("\n")
    st.add("formats/malformed/cases.json", {
        "group": "formats", "reference": "safetensors / torch.load(weights_only=True) verdicts are in reference_library",
        "description": f"{len(rows)} small files with expect = accept | reject | either; no file may crash, hang, allocate more than a few MB, or run anything"})
    bad = [r for r in rows if r["reference_library"] and (r["expect"] == "accept") != (r["reference_library"] == "accepted") and r["kind"] != "x"]
    for r in bad:
        print("     differs from library:", r["file"], r["expect"], "|", r["reference_library"])
    return len(rows)


@torch.no_grad()
def formats(st, refs, only=None):
    warnings.filterwarnings("ignore")
    base = os.path.join(st.out, "formats")
    shutil.rmtree(base, ignore_errors=True)
    os.makedirs(base)
    n = malformed(st, refs)
    sd = clip_sd(refs, st.prefix)
    name = st.prefix + "input/formats/image"
    img = torch.from_numpy(P.blocky(name, (2, 3, RES, RES), 8))
    ids = torch.zeros(3, 77, dtype=torch.int)
    seqs = [[510, 5, 77, 300, 12, EOT], [510, EOT], [510] + [(i * 37 + 11) % 510 for i in range(75)] + [EOT]]
    if st.name == "second":
        seqs = [[510, 9, 9, 401, EOT], [510, 1, EOT], [510] + [(i * 53 + 7) % 510 for i in range(40)] + [EOT]]
    for i, s in enumerate(seqs):
        ids[i, :len(s)] = torch.tensor(s)
    plain = refs.surgery_mod("clip_model").CLIP(*ARCH).eval()
    plain.load_state_dict(sd)
    cs = refs.surgery_mod("clip_surgery_model").CLIPSurgery(*ARCH).eval()
    cs.load_state_dict(sd)
    yp, yt = plain.encode_image(img), plain.encode_text(ids)
    yc = cs.encode_image(img)
    cs2 = refs.surgery_mod("clip_surgery_model").CLIPSurgery(*ARCH).eval()
    cs2.load_state_dict(sd)
    big = torch.from_numpy(P.blocky(name + "/56", (1, 3, 56, 56), 8))
    yb = cs2.encode_image(big)

    arch = dict(zip(M.ARCH_FIELDS, ARCH), vision_heads=1, name="formats tiny CLIP", eot_token=EOT)
    files = {}
    P_ = lambda *a: os.path.join(base, *a)
    op = st.name == "open"
    save_st(sd_np(sd, torch.float16), P_("clip_f16.safetensors"))
    files["clip_f16.safetensors"] = "original keys, F16"
    if op:
        save_st(sd, P_("clip_f32.safetensors"), {"format": "pt"})
        files["clip_f32.safetensors"] = "original keys, F32"
    save_st(sd_np(sd, torch.bfloat16), P_("clip_bf16.safetensors"))
    files["clip_bf16.safetensors"] = "original keys, BF16"
    # sharded
    d = P_("clip_sharded")
    shutil.rmtree(d, ignore_errors=True)
    h = sd_np(sd, torch.float16)
    keys = list(h)
    cut = (len(keys) // 3, 2 * len(keys) // 3)
    shards = [keys[:cut[0]], keys[cut[0]:cut[1]], keys[cut[1]:]]
    wm = {}
    for i, ks in enumerate(shards):
        fn = f"model-{i + 1:05d}-of-00003.safetensors"
        save_st({k: h[k] for k in ks}, os.path.join(d, fn), {"format": "pt"})
        wm.update({k: fn for k in ks})
    json.dump({"metadata": {"total_size": sum(v.numel() * 2 for v in h.values())}, "weight_map": wm}, open(os.path.join(d, "model.safetensors.index.json"), "w"), indent=1)
    files["clip_sharded/"] = "original keys, F16, three shards + model.safetensors.index.json"
    # HF
    shutil.rmtree(P_("clip_hf"), ignore_errors=True)
    make_hf_clip(sd, P_("clip_hf"), torch.float16, ids, img, yp[:, 0], yt)
    files["clip_hf/"] = "transformers CLIPModel.save_pretrained (config.json + model.safetensors, F16, hidden_act quick_gelu)"
    # open_clip
    import open_clip
    oc = open_clip.CLIP(embed_dim=64, vision_cfg=dict(image_size=RES, layers=ARCH[2], width=64, patch_size=8),
                        text_cfg=dict(context_length=77, vocab_size=VOCAB, width=64, heads=1, layers=ARCH[9]), quick_gelu=True).eval()
    missing, unexpected = oc.load_state_dict(sd, strict=False)
    assert not unexpected, unexpected
    oi, ot = oc.encode_image(img), oc.encode_text(ids)
    assert (oi - yp[:, 0]).abs().max() < 1e-5 and (ot - yt).abs().max() < 1e-5, (missing, (oi - yp[:, 0]).abs().max(), (ot - yt).abs().max())
    osd = oc.state_dict()
    d = P_("clip_open_clip")
    shutil.rmtree(d, ignore_errors=True)
    save_st(sd_np(osd, torch.float16), os.path.join(d, "open_clip_model.safetensors"), {"format": "pt"})
    json.dump({"model_cfg": {"embed_dim": 64, "quick_gelu": True,
                             "vision_cfg": {"image_size": RES, "layers": ARCH[2], "width": 64, "patch_size": 8},
                             "text_cfg": {"context_length": 77, "vocab_size": VOCAB, "width": 64, "heads": 1, "layers": ARCH[9]}},
               "preprocess_cfg": {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}},
              open(os.path.join(d, "open_clip_config.json"), "w"), indent=1)
    files["clip_open_clip/"] = "open_clip hub layout: open_clip_model.safetensors (F16) + open_clip_config.json"
    torch.save({"epoch": 3, "name": "run", "state_dict": OrderedDict(("module." + k, v) for k, v in sd_np(osd, torch.float16).items())}, P_("clip_open_clip_train.pt"))
    files["clip_open_clip_train.pt"] = "open_clip training checkpoint: {'epoch', 'name', 'state_dict': {'module.'+key: F16}}, zip format"
    # torch.save
    if not op:
        torch.save(sd, P_("clip_f32.pth"))
        files["clip_f32.pth"] = "torch.save(state_dict), zip format, F32"
    torch.save(OrderedDict(sd_np(sd, torch.float16)), P_("clip_f16_legacy.pth"), _use_new_zipfile_serialization=False)
    files["clip_f16_legacy.pth"] = "torch.save, legacy (non-zip) format, F16"
    # TorchScript like OpenAI's published files
    om = refs.openai_mod("model")
    jm = om.CLIP(*ARCH).eval()
    jm.load_state_dict(sd)
    om.convert_weights(jm)
    for nme, v in (("input_resolution", RES), ("context_length", 77), ("vocab_size", VOCAB)):
        if hasattr(jm, nme):
            delattr(jm, nme)
        jm.register_buffer(nme, torch.tensor(v))
    for p in jm.parameters():
        p.requires_grad_(False)
    jt = torch.jit.trace_module(jm, {"forward": (img[:1].half(), ids[:1]), "encode_image": (img[:1].half(),), "encode_text": (ids[:1],)}, check_trace=False)
    jt.save(P_("clip_jit_f16.pt"))
    strip_debug(P_("clip_jit_f16.pt"))
    with open(P_("clip_jit_f16.pt"), "rb") as f:
        rt = torch.jit.load(f)
    assert (rt.encode_text(ids[:1]).float() - yt[:1]).abs().max() < 0.05 * rms(yt)
    back = torch.jit.load(P_("clip_jit_f16.pt")).state_dict()
    for k, v in sd.items():
        assert torch.equal(back[k].float(), v), k
    print("     jit extra keys:", sorted(set(back) - set(sd)), "dtypes", {str(v.dtype) for v in back.values()})
    files["clip_jit_f16.pt"] = ("TorchScript archive traced from openai/CLIP after convert_weights (matrices F16; LayerNorm, embeddings and positions F32; "
                                "input_resolution, context_length and vocab_size are extra integer entries)")
    # odd tensors in a zip .pth
    b = torch.from_numpy(P.tensor(st.prefix + "input/formats/odd", (6, 8), 0.0, 1.0))
    odd = OrderedDict(row_slice=b[2:5], transposed=b.t(), column=b[:, 3], step=b[::2, 1::3], scalar=torch.tensor(2.5), i64=torch.tensor([1, -2, 3]),
                      i32=torch.tensor([7], dtype=torch.int32), u8=torch.tensor([1, 255], dtype=torch.uint8), boolean=torch.tensor([True, False]),
                      f64=torch.tensor([0.1], dtype=torch.float64), bf16=b[0].bfloat16(), f16=b[1].half(), empty=torch.zeros(0, 3), param=torch.nn.Parameter(b[5].clone(), requires_grad=False))
    torch.save(odd, P_("odd_tensors.pth"))
    torch.save(odd, P_("odd_tensors_legacy.pth"), _use_new_zipfile_serialization=False)
    st_save({k: (v.detach().float() if v.dtype in (torch.bfloat16, torch.float16) else v.detach()).contiguous().numpy() for k, v in odd.items()}, P_("odd_tensors_expected.safetensors"))
    files["odd_tensors.pth"] = "views (offset, transposed, strided) of ONE storage, scalar, other dtypes, Parameter; expected values in odd_tensors_expected.safetensors (bf16/f16 widened to F32)"
    files["odd_tensors_legacy.pth"] = "the same in the legacy format"

    fx = st.fixture("formats", "clip_expected", reference="xmed-lab/CLIP_Surgery clip_model.py / clip_surgery_model.py, openai/CLIP encode_text",
                    architecture=arch, weights={"files": files, "note": "all files hold the same numbers (values representable in F32, F16 and BF16)"},
                    description="expected outputs of every CLIP file of this group, computed in float32")
    fx.inputs["image"] = {"procedural": {"formula": "blocky", "name": name, "shape": [2, 3, RES, RES], "cell": 8, "b_block": 1.5, "b_noise": 0.75}}
    fx.inputs["image56"] = {"procedural": {"formula": "blocky", "name": name + "/56", "shape": [1, 3, 56, 56], "cell": 8, "b_block": 1.5, "b_noise": 0.75}}
    fx.input("ids", ids)
    fx.output("plain_tokens", yp, tol=rel_tol(rms(yp)), note="clip_model.CLIP.encode_image(image): [2,17,64]")
    fx.output("cs_tokens", yc, tol=rel_tol(rms(yc)), note="CLIPSurgery.encode_image(image)")
    fx.output("cs_tokens_56", yb, tol=rel_tol(rms(yb)), note="CLIPSurgery.encode_image(image56), [1,50,64], grid 7x7")
    fx.output("text_features", yt, tol=rel_tol(rms(yt)))
    fx.save()

    # ---- SAM
    m = M.sam_tiny(refs, st.prefix + "formats/", cfg=SAM_CFG)
    ssd = OrderedDict((k, quant(v)) for k, v in m.state_dict().items())
    m.load_state_dict(ssd)
    iname = st.prefix + "input/formats/sam"
    pic = P.u8image(iname, 256, 200, 32)
    pr = refs.sam.SamPredictor(m)
    pr.set_image(pic)
    pts = np.array([[100, 80], [30, 200]])
    mk, iou, low = pr.predict(pts, np.array([1, 0]), multimask_output=True, return_logits=True)
    x = m.preprocess(torch.as_tensor(pr.transform.apply_image(pic)).permute(2, 0, 1)[None].float())
    co = torch.as_tensor(pr.transform.apply_coords(pts, (256, 200))).float()
    sfiles = {}
    save_st(sd_np(ssd, torch.float16), P_("sam_f16.safetensors"))
    sfiles["sam_f16.safetensors"] = "original keys, F16"
    torch.save(ssd, P_("sam_f32.pth"))
    sfiles["sam_f32.pth"] = "torch.save(state_dict) zip, F32 (as Meta's sam_vit_*.pth)"
    if not op:
        torch.save(OrderedDict(sd_np(ssd, torch.float16)), P_("sam_f16_legacy.pth"), _use_new_zipfile_serialization=False)
        sfiles["sam_f16_legacy.pth"] = "legacy torch.save, F16"
    shutil.rmtree(P_("sam_hf"), ignore_errors=True)
    try:
        dl, di = make_hf_sam(ssd, P_("sam_hf"), x, co, torch.from_numpy(low), torch.from_numpy(iou))
        sfiles["sam_hf/"] = f"transformers SamModel.save_pretrained, F16; its logits differ from Meta's by {dl:.1e}, iou by {di:.1e}"
    except AssertionError as e:
        raise
    fx = st.fixture("formats", "sam_expected", reference="facebookresearch/segment-anything predictor.py", architecture=dict(SAM_CFG, name="formats tiny SAM"),
                    weights={"files": sfiles}, description="expected outputs of every SAM file of this group; multimask_output=True")
    fx.inputs["image"] = {"procedural": {"formula": "u8image", "name": iname, "shape": [256, 200, 3], "cell": 32, "b_block": 80.0, "b_noise": 24.0}}
    fx.value("points", pts.tolist())
    fx.value("labels", [1, 0])
    fx.output("image_embedding", pr.features, stride=7, tol=rel_tol(rms(pr.features)))
    fx.output("low_res_logits", low, stride=5, tol=rel_tol(rms(torch.from_numpy(low)), base=1e-3))
    fx.output("iou", iou, tol={"abs": 1e-3})
    fx.output("logits", mk, stride=97, tol=rel_tol(rms(torch.from_numpy(mk)), base=1e-3))
    fx.save()
    tot = sum(os.path.getsize(os.path.join(r, f)) for r, _, fs in os.walk(base) for f in fs)
    print(f"   malformed {n}, total {tot / 1e6:.1f} MB")
