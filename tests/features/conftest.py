"""One Inception weights file for the session: the network's shapes, with values made here.

No test can download the real weights; equality of two implementations holds for any.
"""

from pathlib import Path

import pytest
import torch
from torch import nn


def randomise(network: nn.Module) -> None:
    """Values that keep activations near 1, with batch statistics that folding must get right."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.normal_(0, 0.1, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.8, 1.2, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the format of torch-fidelity's weights."""
    from torch_fidelity import feature_extractor_inceptionv3 as peer

    with pytest.MonkeyPatch.context() as patch:
        # the constructor loads weights from the network unless it is told where they are
        patch.setattr(peer, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(peer.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = peer.FeatureExtractorInceptionV3("random", ["2048"])
    randomise(network)
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path)
    return path
