"""Any torch.utils.data.Dataset as data: (sample, label) pairs, of which label 0 is normal.

kdcompress show data torch_dataset --plugin examples/torch_dataset.py
"""

import torch
from torch.utils.data import Dataset

import kdcompress as kd


class Waves(Dataset):
    """Stands for yours: waves of 64 points, every fifth of twice the frequency and an anomaly."""

    def __len__(self) -> int:
        return 500

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        label = int(index % 5 == 0)
        return torch.sin((1 + label) * torch.linspace(0, 12, 64) + index).unsqueeze(0), label


@kd.DATASETS.register("torch_dataset")
def torch_dataset() -> kd.OneClassData:
    """Waves from a torch data set: those of twice the frequency are anomalies."""
    samples, labels = zip(*(Waves()[index] for index in range(len(Waves()))), strict=True)
    whole, marks = torch.stack(samples), torch.tensor(labels)
    normals = whole[:300][marks[:300] == 0]
    return kd.OneClassData("torch_dataset", None, normals[40:], normals[:40], whole[300:], marks[300:])
