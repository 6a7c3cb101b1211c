"""anomalib's GANomaly in training, for `speed.py`; run by the Python of an environment that has anomalib.

    yes '' | head -3 | PYTHON benchmarks/anomalib_ganomaly.py

Its own network, losses, optimisers and training step are called, on random images; Lightning's Trainer, its loggers and
progress bars are left out, which only makes it faster. The first line says what it is, as JSON; then each line that is
read trains an epoch and prints its seconds and images a second, so that epochs of both sides can be interleaved.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from anomalib.models.image.ganomaly.lightning_model import Ganomaly
from anomalib.models.image.ganomaly.torch_model import GanomalyModel
from anomalib.pre_processing import PreProcessor
from torch import Tensor
from torchvision.transforms.v2 import Resize

# The counters need torch alone, and this environment has no kdcompress.
sys.path.append(str(Path(__file__).parent.parent))

from kdcompress.profiling.counters import macs, params  # noqa: E402

BATCH, SIDE, FEATURES, LATENT = 64, 32, 64, 128


def ganomaly() -> tuple[Ganomaly, list[torch.optim.Optimizer]]:
    """Return anomalib's module for images of one channel, ready for its training step, and its optimisers."""
    settings = {"n_features": FEATURES, "latent_vec_size": LATENT}
    module = Ganomaly(
        batch_size=BATCH,
        pre_processor=PreProcessor(transform=Resize((SIDE, SIDE))),
        post_processor=False,
        evaluator=False,
        visualizer=False,
        **settings,
    )
    # It asks for three channels; nothing else in the module depends on them.
    module.model = GanomalyModel(input_size=(SIDE, SIDE), num_input_channels=1, **settings)
    optimizers = module.configure_optimizers()
    # What a Trainer would provide.
    provided: dict[str, Any] = {
        "optimizers": lambda: optimizers,
        "manual_backward": lambda loss, **options: loss.backward(**options),
        "log_dict": lambda *_, **__: None,
    }
    for name, function in provided.items():
        object.__setattr__(module, name, function)
    return module.train(), optimizers


def images(count: int) -> Tensor:
    """Return random images [N, 1, 32, 32] in [-1, 1]."""
    raw = torch.randint(0, 256, (count, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    return raw / 127.5 - 1


def main() -> None:
    """Train an epoch for each line that is read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=5 * BATCH)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    (module, _), x = ganomaly(), images(options.images)
    generator = module.model.generator
    facts = {"anomalib": version("anomalib"), "torch": torch.__version__, "threads": torch.get_num_threads()}
    print(json.dumps({**facts, "macs": macs(generator, x[:1]), "params": params(generator)}), flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        for index, batch in enumerate(x[torch.randperm(len(x))].split(BATCH)):
            module.training_step(SimpleNamespace(image=batch), index)
        seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds, "images_per_second": len(x) / seconds}), flush=True)


if __name__ == "__main__":
    main()
