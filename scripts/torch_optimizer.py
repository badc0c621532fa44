"""Converts the state of a PyTorch optimizer to a safetensors file that palimpsest/optim reads.

    pip install torch safetensors
    python scripts/torch_optimizer.py checkpoint.pt state.safetensors --optimizer AdamW [--key optimizer]

checkpoint.pt holds what `optimizer.state_dict()` returned, itself or under a key (`--key a.b` goes
deeper). Then, with parameters in the same order and groups:

    import { AdamW, loadOptimizerState } from 'palimpsest/optim'
    optimizer.loadStateDict(loadOptimizerState('state.safetensors'))

Known are torch.optim's AdamW, Adam, SGD and Muon. Matrices need no transposing: palimpsest/nn keeps
them as PyTorch does, [out, in].
"""
import argparse
import json

import torch
from safetensors.torch import save_file


def convert(state_dict, optimizer, path):
    """Writes tensors state.<i>.<name> in float32; the groups' options go to the metadata as JSON."""
    tensors = {}
    for index, entry in state_dict["state"].items():
        for name, value in entry.items():
            if value is None:
                continue
            value = torch.as_tensor(value, dtype=torch.float32)
            tensors[f"state.{index}.{name}"] = value.detach().cpu().flatten().contiguous()

    def plain(value):
        return value.item() if isinstance(value, torch.Tensor) else value

    groups = [{k: plain(v) for k, v in group.items()} for group in state_dict["param_groups"]]
    document = {"optimizer": optimizer, "paramGroups": groups}
    save_file(tensors, path, {"format": "torch-optimizer", "state": json.dumps(document)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("output")
    parser.add_argument("--optimizer", required=True, choices=["AdamW", "Adam", "SGD", "Muon"])
    parser.add_argument("--key", default="")
    options = parser.parse_args()
    state = torch.load(options.checkpoint, map_location="cpu", weights_only=True)
    for key in filter(None, options.key.split(".")):
        state = state[key]
    convert(state, options.optimizer, options.output)
