"""Shared helpers of the golden-fixture drivers: reference loading, fixture files."""
import glob
import hashlib
import importlib
import importlib.util
import json
import os
import sys
import tempfile
import types
import warnings

import numpy as np
import torch

import procedural as P

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
torch.manual_seed(0)


# ---------------------------------------------------------------- references
class Refs:
    """Imports the reference packages from `root`, which holds check-outs whose
    directory names end with the repository names."""

    def __init__(self, root):
        self.root = root
        if "pkg_resources" not in sys.modules:
            try:
                import pkg_resources  # noqa: F401
            except Exception:
                import packaging.version
                m = types.ModuleType("pkg_resources")
                m.packaging = packaging
                sys.modules["pkg_resources"] = m

    def dir(self, repo):
        for pat in (repo, "*" + repo):
            c = sorted(d for d in glob.glob(os.path.join(self.root, pat)) if os.path.isdir(d))
            if c:
                return c[0]
        raise FileNotFoundError(f"no check-out of {repo} under {self.root}")

    def _pkg(self, alias, path):
        if alias in sys.modules:
            return sys.modules[alias]
        spec = importlib.util.spec_from_file_location(
            alias, os.path.join(path, "__init__.py"), submodule_search_locations=[path])
        m = importlib.util.module_from_spec(spec)
        sys.modules[alias] = m
        spec.loader.exec_module(m)
        return m

    @property
    def surgery(self):  # xmed-lab/CLIP_Surgery, package clip
        return self._pkg("ref_xmed_clip", os.path.join(self.dir("CLIP_Surgery"), "clip"))

    def surgery_mod(self, name):
        self.surgery
        return importlib.import_module("ref_xmed_clip." + name)

    @property
    def openai(self):  # openai/CLIP, package clip
        return self._pkg("ref_openai_clip", os.path.join(self.dir("openai+CLIP"), "clip"))

    def openai_mod(self, name):
        self.openai
        return importlib.import_module("ref_openai_clip." + name)

    @property
    def sam(self):
        d = self.dir("segment-anything")
        if d not in sys.path:
            sys.path.insert(0, d)
        return importlib.import_module("segment_anything")

    @property
    def mobile(self):
        d = self.dir("MobileSAM")
        if d not in sys.path:
            sys.path.insert(0, d)
        return importlib.import_module("mobile_sam")


# ------------------------------------------------------------------ fixtures
def st_save(tensors, path, metadata=None):
    """minimal safetensors writer (sorted by name, 8-byte aligned header)"""
    names = {np.dtype(np.float32): "F32", np.dtype(np.int32): "I32", np.dtype(np.uint8): "U8",
             np.dtype(np.float16): "F16", np.dtype(np.int64): "I64", np.dtype(np.bool_): "BOOL",
             np.dtype(np.float64): "F64"}
    hdr, off, blobs = {}, 0, []
    if metadata:
        hdr["__metadata__"] = metadata
    for k in sorted(tensors):
        v = np.asarray(tensors[k], order="C")
        b = v.tobytes()
        hdr[k] = {"dtype": names[v.dtype], "shape": list(v.shape), "data_offsets": [off, off + len(b)]}
        off += len(b)
        blobs.append(b)
    h = json.dumps(hdr, separators=(",", ":")).encode()
    h += b" " * (-len(h) % 8)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "wb") as f:
        f.write(len(h).to_bytes(8, "little"))
        f.write(h)
        for b in blobs:
            f.write(b)


def to_np(t):
    if isinstance(t, torch.Tensor):
        t = t.detach().cpu().numpy()
    t = np.asarray(t)
    if t.dtype == np.float64:
        t = t.astype(np.float32)
    if t.dtype == np.int64:
        assert t.size == 0 or (abs(t).max() < 2 ** 31)
        t = t.astype(np.int32)
    if t.dtype == np.bool_:
        t = t.astype(np.uint8)
    return t


class Set:
    """one output set (open or second): a directory with an index.json"""

    def __init__(self, out, name):
        self.out, self.name = out, name
        self.prefix = "" if name == "open" else name + "/"

    def add(self, file, entry):
        """read-modify-write under a lock, so that several drivers may run at once"""
        import fcntl
        e = {"file": file}
        e.update(entry)
        os.makedirs(self.out, exist_ok=True)
        p = os.path.join(self.out, "index.json")
        tag = hashlib.sha1(os.path.abspath(self.out).encode()).hexdigest()[:12]
        with open(os.path.join(tempfile.gettempdir(), f"golden-{tag}.lock"), "w") as lk:
            fcntl.flock(lk, fcntl.LOCK_EX)
            ents = {}
            if os.path.exists(p):
                with open(p) as f:
                    ents = {x["file"]: x for x in json.load(f)["fixtures"]}
            ents[file] = e
            ents = {k: v for k, v in ents.items() if os.path.exists(os.path.join(self.out, k))}
            doc = {
                "set": self.name,
                "prefix": self.prefix,
                "note": "see README.md of the open set for the meaning of every field",
                "versions": {"torch": torch.__version__.split("+")[0], "numpy": np.__version__},
                "fixtures": [ents[k] for k in sorted(ents)],
            }
            with open(p + ".tmp", "w") as f:
                json.dump(doc, f, indent=1, ensure_ascii=False)
                f.write("\n")
            os.replace(p + ".tmp", p)

    def fixture(self, group, name, **kw):
        return Fixture(self, group, name, **kw)


class Fixture:
    def __init__(self, st, group, name, **kw):
        self.set, self.group, self.name = st, group, name
        self.file = f"{group}/{name}.safetensors"
        self.kw = kw
        self.t = {}
        self.inputs = {}
        self.outputs = {}

    # inputs -----------------------------------------------------------------
    def proc(self, name, key, shape, a=0.0, b=1.75):
        """procedural input: not stored, only described"""
        self.inputs[name] = {"procedural": {"name": self.set.prefix + key, "shape": list(shape),
                                            "a": a, "b": b}}
        return torch.from_numpy(P.tensor(self.set.prefix + key, shape, a, b))

    def input(self, name, t, note=None):
        a = to_np(t)
        self.t["in." + name] = a
        self.inputs[name] = {"tensor": "in." + name, "shape": list(a.shape)}
        if note:
            self.inputs[name]["note"] = note

    def value(self, name, v):
        self.inputs[name] = {"value": v}

    # outputs ----------------------------------------------------------------
    def output(self, name, t, stride=1, rows=False, tol=None, exact=False, note=None, half=False):
        """stride 1 = stored whole.  stride > 1 = `name.s<stride>` holds
        flat[0::stride]; rows=True adds the first and last row of the
        second-to-last axis (`name.first`, `name.last`, batch item 0)."""
        a = to_np(t)
        d = {"shape": list(a.shape)}
        if a.dtype == np.float32:
            assert np.isfinite(a).all(), f"{self.file}:{name} has non-finite values"
            f = a.astype(np.float64).reshape(-1)
            d["sum"] = float(f.sum())
            d["sumsq"] = float((f * f).sum())
            d["rms"] = float(np.sqrt((f * f).mean())) if f.size else 0.0
        if a.dtype == np.uint8:
            d["sha256"] = hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()
        if stride == 1:
            self.t["out." + name] = a.astype(np.float16) if half else a
            d["stored"] = "full"
        else:
            self.t[f"out.{name}.s{stride}"] = np.ascontiguousarray(a.reshape(-1)[::stride])
            d["stored"] = "strided"
            d["stride"] = stride
            if rows:
                r = a.reshape((-1,) + a.shape[-2:])[0]
                self.t[f"out.{name}.first"] = r[0]
                self.t[f"out.{name}.last"] = r[-1]
                d["rows"] = ["first", "last"]
        if exact:
            d["tolerance"] = "exact"
        elif tol is not None:
            d["tolerance"] = tol
        if note:
            d["note"] = note
        self.outputs[name] = d

    def save(self):
        path = os.path.join(self.set.out, self.file)
        st_save(self.t, path)
        e = {"group": self.group}
        e.update(self.kw)
        e["inputs"] = self.inputs
        e["outputs"] = self.outputs
        self.set.add(self.file, e)
        print(f"  {self.file}: {os.path.getsize(path) / 1024:.0f} KB", flush=True)
        return path


def rel_tol(rms, f64diff=None, base=2e-4):
    """suggested absolute tolerance: base*rms, or 30x the measured float32 noise
    of the reference (float32 run vs float64 run) where that is larger"""
    t = base * rms
    if f64diff is not None:
        t = max(t, 30 * f64diff)
    return {"abs": float(f"{t:.2g}")}


def rms(t):
    return float(torch.as_tensor(t, dtype=torch.float64).pow(2).mean().sqrt())


def free(*_):
    import gc
    gc.collect()
    try:
        import ctypes
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except Exception:
        pass
