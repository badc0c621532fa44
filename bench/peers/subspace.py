"""peft's fast PiSSA initialisation of linear layers."""
import torch
from peer import peer


@peer("peft", r"pissa init (\d+)")
def pissa_init(match):
    from peft import LoraConfig
    from peft.tuners.lora import Linear as LoraLinear

    shapes = [(768, 768)] * 4 + [(3072, 768), (768, 3072)]
    layers = []
    for out, width in shapes * int(match[1]):
        base = torch.nn.Linear(width, out, bias=False)
        config = LoraConfig(r=16, lora_alpha=16, init_lora_weights=True)
        layers.append(LoraLinear(base, "default", config, r=16, lora_alpha=16))
    return lambda: [layer.pissa_init("default", "pissa_niter_4") for layer in layers]
