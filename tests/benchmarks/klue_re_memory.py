"""GPU memory of a training step of R-BERT over xlm-roberta-large, batch 16 at length 347 (where the source ran out of
it).

    python tests/benchmarks/klue_re_memory.py                 # prints a Markdown table; needs no weights and no network
    python tests/benchmarks/klue_re_memory.py --head rbert --batch_size 8

On a GPU the peak of two AdamW steps is measured (random weights, all rows full). Without one it is computed:
parameters, gradients and AdamW's two moments in float32, the linear layers' copies in half precision, and what autograd
keeps of one and of two layers, extrapolated to 24 (LoRA's own few activations left out). Not in the computed numbers:
the CUDA context (0.3 to 0.5 GB) and the allocator's gaps. 1 GB is 1e9 bytes; a GPU of 16 GB has 17.2 of them.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import XLMRobertaConfig

sys.path.insert(0, str(Path(__file__).parents[2]))

from klue_re.model import RBertConfig, RBertForRelationExtraction

LARGE = {
    "vocab_size": 250002,
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "max_position_embeddings": 514,
}
LAYERS = 24
# name: (half precision, gradient checkpointing, frozen word embeddings, rank of LoRA)
WAYS = {
    "float32": (False, False, False, 0),
    "float32, gradient_checkpointing": (False, True, False, 0),
    "bf16": (True, False, False, 0),
    "bf16, gradient_checkpointing": (True, True, False, 0),
    "bf16, gradient_checkpointing, freeze_word_embeddings": (True, True, True, 0),
    "bf16, gradient_checkpointing, lora_r 16": (True, True, False, 16),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head", choices=["rbert", "indicators"], default="indicators")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--max_length", type=int, default=347)
    args = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    where = f"measured on {torch.cuda.get_device_name()}" if on_gpu else "computed"
    print(
        f"head {args.head}, batch {args.batch_size}, length {args.max_length}: GB, {where}\n\n| way | GB |\n|---|---|"
    )
    for name, way in WAYS.items():
        gigabytes = (measure if on_gpu else compute)(args, *way) / 1e9
        print(f"| {name} | {gigabytes:.1f} |", flush=True)


def make_model(head: str, layers: int, checkpointing: bool, frozen: bool, lora_r: int) -> torch.nn.Module:
    encoder = XLMRobertaConfig(**LARGE, num_hidden_layers=layers, attention_probs_dropout_prob=0.0)  # see compute()
    labels = {i: f"label {i}" for i in range(42)}
    model = RBertForRelationExtraction(
        RBertConfig(encoder_config=encoder.to_dict(), head=head, cls_pooling="pooler", id2label=labels)
    )
    model.get_input_embeddings().weight.requires_grad_(not frozen)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if lora_r:
        from common.tricks.lora import add_lora

        model = add_lora(model, lora_r, 16, 0.1)
    return model.train()


def batch(args: argparse.Namespace, device: str) -> dict[str, torch.Tensor]:
    ones = torch.ones(args.batch_size, args.max_length, dtype=torch.long, device=device)
    masks = {name: ones for name in ("attention_mask", "e1_mask", "e2_mask", "indicator_mask")}
    return {"input_ids": 5 * ones, **masks, "labels": ones[:, 0]}


def measure(args: argparse.Namespace, half: bool, checkpointing: bool, frozen: bool, lora_r: int) -> int:
    """Peak bytes of two steps on the GPU."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    model = make_model(args.head, LAYERS, checkpointing, frozen, lora_r).cuda()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=True)
    for _ in range(2):
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=half):
            loss = model(**batch(args, "cuda")).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return torch.cuda.max_memory_allocated()


def compute(args: argparse.Namespace, half: bool, checkpointing: bool, frozen: bool, lora_r: int) -> int:
    """Bytes of weights, optimizer and kept activations, without allocating any.

    Attention dropout is off: PyTorch's fused attention keeps no mask of it on a GPU, but its CPU form would.
    """
    one, two = (kept(args, layers, half, frozen) for layers in (1, 2))
    layer = two - one
    if checkpointing:  # each layer keeps its input; one at a time is made again
        states = args.batch_size * args.max_length * LARGE["hidden_size"] * 4
        activations = one + LAYERS * states
    else:
        activations = one + (LAYERS - 1) * layer
    with FakeTensorMode():
        model = make_model(args.head, LAYERS, False, frozen, 0)
        parameters = sum(p.numel() for p in model.parameters())
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        if lora_r:  # A and B of every linear layer of the encoder, and the head
            adapters = sum(
                lora_r * sum(m.weight.shape) for m in model.encoder.modules() if isinstance(m, torch.nn.Linear)
            )
            parameters, trained = parameters + adapters, adapters + sum(p.numel() for p in model.head.parameters())
        linear = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and "embeddings" not in name)
    return 4 * parameters + 12 * trained + (2 * linear if half else 0) + activations


def kept(args: argparse.Namespace, layers: int, half: bool, frozen: bool) -> int:
    """Bytes that autograd keeps for the backward pass of an encoder of so many layers, parameters left out."""
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage()._cdata not in own:
            storages[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with FakeTensorMode():
        model = make_model(args.head, layers, False, frozen, 0)
        own = {p.untyped_storage()._cdata for p in model.parameters()}
        inputs = batch(args, "cpu")
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half, cache_enabled=False):
                loss = model(**inputs).loss
        del loss
    return sum(storages.values())


if __name__ == "__main__":
    main()
