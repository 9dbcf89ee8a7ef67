"""Times this module beside PyTorch, ONNX Runtime and OpenVINO on the same work.

Every peer runs the same architecture with random weights in float32. Rounds are
interleaved (ours, peer, peer, …, ours, …), so that a change of the machine's
mood meets everybody, and each counts once its processors are awake; the table
shows medians and, for each peer, how many times faster ours is: the median of
the ratios within a round.

    python peers.py --ours BINARY [--threads 1,2] [--rounds 7] [--only vit,sam]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

warnings.filterwarnings("ignore")

Run = Callable[[], float]  # milliseconds of one run

# Milliseconds of work before a run counts: idle processors take tens of them to
# reach their speed.
AWAKE = 150.0


class Ours:
    """The Go side: answers `workload threads` with milliseconds."""

    def __init__(self, binary: str) -> None:
        self.process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, workload: str, threads: int) -> float:
        self.process.stdin.write(f"{workload} {threads}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        try:
            return float(answer)
        except ValueError:
            raise SystemExit(f"ours: {workload}: {answer or 'died'}") from None


def timed(f: Callable[[], object], scale: float = 1.0) -> Run:
    def run() -> float:
        start = time.perf_counter()
        f()
        return (time.perf_counter() - start) * 1000 * scale
    return run


def torch_peer(f: Callable[[], object], threads: int, scale: float = 1.0) -> Run:
    def call() -> None:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            f()
    return timed(call, scale)


def export(module: nn.Module, inputs: tuple[Tensor, ...], folder: Path, name: str) -> Path:
    path = folder / f"{name}.onnx"
    if not path.exists():
        with torch.inference_mode():
            torch.onnx.export(module, inputs, str(path), dynamo=False, opset_version=17,
                              input_names=[f"x{i}" for i in range(len(inputs))])
    return path


def onnxruntime_peer(path: Path, inputs: tuple[Tensor, ...], threads: int, scale: float = 1.0) -> Run:
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {i.name: x.numpy() for i, x in zip(session.get_inputs(), inputs)}
    return timed(lambda: session.run(None, feed), scale)


def openvino_peer(path: Path, inputs: tuple[Tensor, ...], threads: int, scale: float = 1.0) -> Run:
    import openvino as ov
    core = ov.Core()
    model = core.compile_model(core.read_model(path), "CPU", {
        "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"})
    request = model.create_infer_request()
    feed = [x.numpy() for x in inputs]
    return timed(lambda: request.infer(feed), scale)


class First(nn.Module):
    """The named outputs of a transformers model as a plain module, for export."""

    def __init__(self, module: nn.Module, *names: str) -> None:
        super().__init__()
        self.module, self.names = module, names

    def forward(self, *x: Tensor) -> tuple[Tensor, ...]:
        out = self.module(*x)
        return tuple(getattr(out, n) for n in self.names)


class SurgeryBlock(nn.Module):
    """A transformer block with CLIP Surgery's second stream, as the paper writes it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        a = ((q @ k.transpose(-2, -1)) * self.scale).softmax(-1)
        return self.out((a @ v).transpose(1, 2).flatten(2))

    def mlp(self, x: Tensor) -> Tensor:
        h = self.fc(x)
        return self.proj(h * torch.sigmoid(1.702 * h))

    def forward(self, x: Tensor, new: Tensor | None) -> tuple[Tensor, Tensor | None]:
        b, n, _ = x.shape
        q, k, v = self.qkv(self.ln_1(x)).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if new is not None:
            new = new + self.attend(v, v, v)
        x = x + self.attend(q, k, v)
        return x + self.mlp(self.ln_2(x)), new


class SurgeryTower(nn.Module):
    """CLIP's ViT with surgery on the last six blocks."""

    def __init__(self, side: int, patch: int, width: int, layers: int, embed: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, patch, patch, bias=False)
        self.cls = nn.Parameter(torch.randn(width))
        self.positions = nn.Parameter(torch.randn(1 + (side // patch) ** 2, width) * 0.02)
        self.pre, self.post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.ModuleList(SurgeryBlock(width, width // 64) for _ in range(layers))
        self.head = nn.Linear(width, embed, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.conv(pixels).flatten(2).transpose(1, 2)
        x = self.pre(torch.cat([self.cls.expand(len(x), 1, -1), x], 1) + self.positions)
        new = None
        for i, block in enumerate(self.blocks):
            if i == len(self.blocks) - 6:
                new = x
            x, new = block(x, new)
        return self.head(self.post(torch.cat([x[:, :1], new[:, 1:]], 1)))


def clip_vision(patch: int, width: int, layers: int, side: int, embed: int) -> nn.Module:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
    return First(CLIPVisionModelWithProjection(CLIPVisionConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=width // 64,
        image_size=side, patch_size=patch, projection_dim=embed, attn_implementation="sdpa")).eval(),
        "image_embeds", "last_hidden_state").eval()


def clip_text() -> nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection
    return First(CLIPTextModelWithProjection(CLIPTextConfig(
        vocab_size=49408, hidden_size=512, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=8,
        projection_dim=512, attn_implementation="sdpa")).eval(), "text_embeds").eval()


class Workload:
    """One row of the table: what ours is asked for, and the peers' side of it."""

    def __init__(self, name: str, peers: Callable[[int, Path], dict[str, Run]]) -> None:
        self.name, self.peers = name, peers


def module_peers(name: str, build: Callable[[], tuple[nn.Module, tuple[Tensor, ...]]], scale: float = 1.0,
                 onnx: bool = True) -> Workload:
    """All three peers on one module."""
    def peers(threads: int, folder: Path) -> dict[str, Run]:
        module, inputs = build()
        out = {"PyTorch": torch_peer(lambda: module(*inputs), threads, scale)}
        if onnx:
            path = export(module, inputs, folder, name)
            out["ONNX Runtime"] = onnxruntime_peer(path, inputs, threads, scale)
            out["OpenVINO"] = openvino_peer(path, inputs, threads, scale)
        return out
    return Workload(name, peers)


def gemm(m: int, k: int, n: int) -> Workload:
    def peers(threads: int, _: Path) -> dict[str, Run]:
        a, b = torch.randn(m, k), torch.randn(n, k)
        return {"PyTorch": torch_peer(lambda: torch.mm(a, b.T), threads)}
    return Workload(f"gemm-{m}x{k}x{n}", peers)


def sam_encoder() -> tuple[nn.Module, tuple[Tensor, ...]]:
    from transformers import SamModel, SamConfig, SamVisionConfig
    vision = SamModel(SamConfig(vision_config=SamVisionConfig().to_dict())).eval().vision_encoder
    return First(vision, "last_hidden_state").eval(), (torch.randn(1, 3, 1024, 1024),)


def sam_decoder(prompts: int) -> Workload:
    def peers(threads: int, _: Path) -> dict[str, Run]:
        from segment_anything import SamPredictor, sam_model_registry
        sam = sam_model_registry["vit_b"]().eval()
        predictor = SamPredictor(sam)
        predictor.features = torch.randn(1, 256, 64, 64)
        predictor.original_size, predictor.input_size, predictor.is_image_set = (768, 1024), (768, 1024), True
        points = torch.rand(prompts, 1, 2) * 768
        labels = torch.ones(prompts, 1, dtype=torch.int)
        return {"PyTorch": torch_peer(lambda: predictor.predict_torch(points, labels, multimask_output=True), threads)}
    return Workload(f"sam-decoder-{prompts}", peers)


def resnet() -> tuple[nn.Module, tuple[Tensor, ...]]:
    import open_clip
    return open_clip.create_model("RN50").visual.eval(), (torch.randn(1, 3, 224, 224),)


WORKLOADS = [
    gemm(1025, 768, 3072),
    gemm(197, 768, 768),
    module_peers("vit-b16-224", lambda: (clip_vision(16, 768, 12, 224, 512), (torch.randn(1, 3, 224, 224),))),
    module_peers("vit-l14-224", lambda: (clip_vision(14, 1024, 24, 224, 768), (torch.randn(1, 3, 224, 224),))),
    module_peers("cs-vit-b16-512", lambda: (SurgeryTower(512, 16, 768, 12, 512).eval(), (torch.randn(1, 3, 512, 512),))),
    # The reference encodes the 85 prompts of each label as one padded batch; one label is timed and scaled to 59.
    module_peers("labels-59x85", lambda: (clip_text(), (torch.randint(1, 49000, (85, 77)),)), scale=59),
    module_peers("rn50-224", resnet),
    module_peers("sam-vit-b-1024", sam_encoder),
    sam_decoder(1),
    sam_decoder(64),
]


def cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", required=True, help="binary of ./ours")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="comma-separated parts of workload names")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between runs, for spinning threads to stop")
    args = parser.parse_args()
    ours = Ours(args.ours)
    only = [p for p in args.only.split(",") if p]
    print(f"{cpu()}, {platform.system()} {platform.machine()}, medians of {args.rounds} interleaved rounds, "
          f"torch {torch.__version__}\n")
    print("| work | threads | clipsurgery | PyTorch | ONNX Runtime | OpenVINO |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for work in WORKLOADS:
            if only and not any(p in work.name for p in only):
                continue
            for threads in map(int, args.threads.split(",")):
                torch.manual_seed(0)
                peers = work.peers(threads, Path(folder))
                times: dict[str, list[float]] = {name: [] for name in ("ours", *peers)}
                for round in range(args.rounds + 1):
                    for name in times:
                        run = (lambda: ours(work.name, threads)) if name == "ours" else peers[name]
                        time.sleep(args.pause)
                        awake = 0.0
                        while awake < AWAKE:
                            awake += run()
                        ms = run()
                        if round:  # the first warms up
                            times[name].append(ms)
                cells = [f"{statistics.median(times['ours']):.4g} ms"]
                for name in ("PyTorch", "ONNX Runtime", "OpenVINO"):
                    if name not in times:
                        cells.append("")
                        continue
                    ratio = statistics.median(p / o for p, o in zip(times[name], times["ours"]))
                    cells.append(f"{statistics.median(times[name]):.4g} ms, {ratio:.2f}×")
                print(f"| {work.name} | {threads} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
