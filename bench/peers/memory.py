"""Bytes that a row's steps need beyond a loaded torch: see bench/memory.ts. Arguments: row, steps."""
import re
import sys


def resident(key):
    with open("/proc/self/status") as file:
        return int(re.search(key + r":\s+(\d+)", file.read())[1]) * 1024


def main(row, steps):
    import networks  # noqa: F401 (registers its rows)
    import peer
    import torch
    import train  # noqa: F401

    torch.set_num_threads(2)
    tiny = peer.find("torch", "train adamw 8-16-2 4")()
    for _ in range(steps):
        tiny()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = resident("VmRSS")
    run = peer.find("torch", row)()
    for _ in range(steps):
        run()
    print(resident("VmHWM") - before)


# Imported with the other peers, it does nothing.
if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
