"""What a detector learns without another one: the losses of GANomaly (Akcay et al., ACCV 2018), and others."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kdcompress.losses import LOSSES
from kdcompress.stage import Side, loss


@LOSSES.register("reconstruction")
@loss(outputs=("reconstruction",))
def reconstruction(own: Side, other: Side | None) -> Tensor:
    """L1 between the input and its reconstruction: the contextual loss, eq. 2."""
    return F.l1_loss(own.outputs["reconstruction"], own.x)


@LOSSES.register("latent_consistency")
@loss(outputs=("latent", "latent_of_reconstruction"))
def latent_consistency(own: Side, other: Side | None) -> Tensor:
    """L2 between the latents of the input and of its reconstruction: the encoder loss, eq. 3."""
    return F.mse_loss(own.outputs["latent_of_reconstruction"], own.outputs["latent"])


@LOSSES.register("feature_matching")
@loss(critic=("real_features", "fake_features"))
def feature_matching(own: Side, other: Side | None) -> Tensor:
    """L2 between the critic's features of real and reconstructed input: the adversarial loss, eq. 1."""
    return F.mse_loss(own.critic["fake_features"], own.critic["real_features"])


@LOSSES.register("adversarial")
@loss(critic=("fake_logit",))
def adversarial(own: Side, other: Side | None) -> Tensor:
    """Cross-entropy of the critic taking the reconstruction for real (Goodfellow et al., 2014, non-saturating)."""
    return F.softplus(-own.critic["fake_logit"]).mean()


@LOSSES.register("critic")
@loss(critic=("real_logit", "fake_logit"))
def critic(own: Side, other: Side | None) -> Tensor:
    """Cross-entropy of the critic telling real from reconstructed input, mean of the two halves."""
    real = F.softplus(-own.critic["real_logit"]).mean()
    fake = F.softplus(own.critic["fake_logit"]).mean()
    return (real + fake) / 2


@LOSSES.register("one_class")
@loss(outputs=("centre_distance",))
def one_class(own: Side, other: Side | None) -> Tensor:
    """Distance of the normals from the detector's centre (Ruff et al., ICML 2018, eq. 4, without its decay)."""
    return own.outputs["centre_distance"].mean()


@LOSSES.register("feature_distance")
@loss(outputs=("feature_distance",))
def feature_distance(own: Side, other: Side | None) -> Tensor:
    """Distance [N, L] of imitated or rebuilt features from the detector's frozen ones, summed over levels."""
    return own.outputs["feature_distance"].sum(1).mean()


@LOSSES.register("divergence")
@loss(outputs=("divergence",))
def divergence(own: Side, other: Side | None) -> Tensor:
    """Divergence of the codes' distribution from its prior (Kingma and Welling, ICLR 2014, eq. 3)."""
    return own.outputs["divergence"].mean()


@LOSSES.register("contrast")
@loss(outputs=("logit",))
def contrast(own: Side, other: Side | None) -> Tensor:
    """Cross-entropy of telling normals from queries, mean of the two halves (Steinwart, Hush, Scovel, JMLR 2005).

    A batch without queries has the first half alone, which every constant makes 0.
    """
    logit = own.outputs["logit"]
    count = len(logit) if own.normals is None else own.normals
    normal = F.softplus(logit[:count]).mean()
    return normal if count == len(logit) else (normal + F.softplus(-logit[count:]).mean()) / 2
