"""Trainers of other libraries over genzoo's networks, where they are installed: pythae's, torchgan's, mimicry's.

Each is its own trainer's step over its own loader, without its progress bars, files and pictures.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from genzoo.core.data import to_model
from genzoo.core.math.kernels import SCALES
from genzoo_bench.cases import MMD_WEIGHT, Prepared

Epoch = Callable[[], None]
INSTALL = {
    "pythae": "pythae",
    "torchgan": "torchgan torchvision",
    "mimicry": "torch-mimicry torchvision tensorflow scikit-image",
}

# Measured with torchvision at hand: speed as a factor of a hand-written loop's, on a small DCGAN in float32.
RECORDED = {"torchgan": (0.88, 1.01), "mimicry": (0.94, 0.99)}


def epoch_of(name: str, prepared: Prepared) -> tuple[Epoch, nn.Module] | None:
    """One epoch of a rival's training and the networks that it moves, or None where it is not installed."""
    try:
        with _left_alone():
            return {"pythae": pythae, "torchgan": torchgan, "mimicry": mimicry}[name](prepared)
    except ImportError:
        return None


@contextlib.contextmanager
def _left_alone() -> Iterator[None]:
    """Undo what importing and building a rival does to the environment and to logging."""
    environment = dict(os.environ)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)


def _observations(prepared: Prepared) -> Tensor:
    """All of the data in model space, as float32: what the rivals' data sets hold."""
    return to_model(prepared.data.spec, prepared.data.x).cpu()


def pythae(prepared: Prepared) -> tuple[Epoch, nn.Module]:
    """Clement Chadebec's pythae: ``BaseTrainer`` with its data set, its loader and its default Adam."""
    models, nets = importlib.import_module("pythae.models"), importlib.import_module("pythae.models.nn")
    output = importlib.import_module("pythae.models.base.base_utils").ModelOutput
    trainers = importlib.import_module("pythae.trainers")
    callbacks = importlib.import_module("pythae.trainers.training_callbacks")
    dataset = importlib.import_module("pythae.data.datasets").BaseDataset
    ours, config = prepared.fresh(), prepared.config
    both = {"input_dim": config.data.shape, "latent_dim": config.latent.size}

    class Encoder(nets.BaseEncoder):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            nets.BaseEncoder.__init__(self)
            self.network: Any = ours.model.encoder

        def forward(self, x: Tensor) -> Any:
            if prepared.case.recipe == "wae":
                return output(embedding=self.network(x))
            mean, log_var = self.network(x).chunk(2, dim=1)
            return output(embedding=mean, log_covariance=log_var)

    class Decoder(nets.BaseDecoder):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            nets.BaseDecoder.__init__(self)
            self.network = ours.model.generator

        def forward(self, z: Tensor) -> Any:
            return output(reconstruction=self.network(z))

    if prepared.case.recipe == "wae":
        settings = models.WAE_MMD_Config(
            **both, kernel_choice="imq", reg_weight=MMD_WEIGHT, scales=list(SCALES), reconstruction_loss_scale=0.5
        )
        model = models.WAE_MMD(settings, encoder=Encoder(), decoder=Decoder())
    else:
        settings = models.VAEConfig(**both, reconstruction_loss="mse")
        model = models.VAE(settings, encoder=Encoder(), decoder=Decoder())

    class Quiet(trainers.BaseTrainer):  # type: ignore[misc, name-defined]
        def _set_output_dir(self) -> None:
            pass

        def _setup_callbacks(self) -> None:  # neither a progress bar nor printed metrics
            self.callback_handler = callbacks.CallbackHandler([callbacks.TrainingCallback()], self.model)

    x = _observations(prepared)
    how = trainers.BaseTrainerConfig(
        per_device_train_batch_size=config.train.batch_size, learning_rate=config.train.lr,
        optimizer_params={"betas": config.train.betas}, no_cuda=prepared.data.x.device.type != "cuda",
    )  # fmt: skip
    trainer = Quiet(model, train_dataset=dataset(x, x.new_zeros(len(x))), training_config=how)
    trainer.prepare_training()
    number = iter(range(1, 2**62))
    return lambda: trainer.train_step(next(number)), ours


def torchgan(prepared: Prepared) -> tuple[Epoch, nn.Module]:
    """The ``Trainer`` of torchgan: its losses' ``train_ops`` over a loader."""
    optim = importlib.import_module("torch.optim")
    models, losses = importlib.import_module("torchgan.models"), importlib.import_module("torchgan.losses")
    base = importlib.import_module("torchgan.trainer").Trainer
    ours, o, device = prepared.fresh(), prepared.config.train, prepared.data.x.device

    class Generator(models.Generator):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(prepared.config.latent.size)
            self.network = ours.model.generator

        def forward(self, z: Tensor) -> Tensor:
            return self.network(z).tanh()  # type: ignore[no-any-return]

    class Critic(models.Discriminator):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(prepared.config.data.shape[0])
            self.network = ours.critic

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x).squeeze(1)  # type: ignore[no-any-return]

    adam = {"name": optim.Adam, "args": {"lr": o.lr, "betas": o.betas}}
    roles = {"generator": Generator, "discriminator": Critic}
    with tempfile.TemporaryDirectory() as folder:  # it makes folders as it is built, and writes nothing in a step
        trainer = base(
            {role: {"name": network, "optimizer": adam} for role, network in roles.items()},
            [losses.MinimaxGeneratorLoss(nonsaturating=True), losses.MinimaxDiscriminatorLoss()],
            device=device, sample_size=1, epochs=1, checkpoints=f"{folder}/gan", recon=folder, log_dir=folder,
        )  # fmt: skip
    x = _observations(prepared)
    loader = DataLoader(TensorDataset(x, x.new_zeros(len(x))), o.batch_size, shuffle=True)
    trainer.batch_size = o.batch_size

    def epoch() -> None:
        for real, labels in loader:
            trainer.real_inputs, trainer.labels = real.to(device), labels.to(device)
            lgen, ldis, gen_iter, dis_iter = trainer.train_iter()
            trainer.loss_information["generator_losses"] += lgen
            trainer.loss_information["discriminator_losses"] += ldis
            trainer.loss_information["generator_iters"] += gen_iter
            trainer.loss_information["discriminator_iters"] += dis_iter

    return epoch, ours


def mimicry(prepared: Prepared) -> tuple[Epoch, nn.Module]:
    """The ``train_step`` in mimicry of critic and generator, in its trainer's order."""
    optim, gan = importlib.import_module("torch.optim"), importlib.import_module("torch_mimicry.nets.gan.gan")
    log = importlib.import_module("torch_mimicry.training.metric_log").MetricLog
    ours, o, device = prepared.fresh(), prepared.config.train, prepared.data.x.device

    class Generator(gan.BaseGenerator):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(nz=prepared.config.latent.size, ngf=1, bottom_width=1, loss_type="ns")
            self.network = ours.model.generator

        def forward(self, z: Tensor) -> Tensor:
            return self.network(z).tanh()  # type: ignore[no-any-return]

    class Critic(gan.BaseDiscriminator):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(ndf=1, loss_type="ns")
            self.network = ours.critic

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x)  # type: ignore[no-any-return]

    generator, critic = Generator().to(device), Critic().to(device)
    adams = [optim.Adam(net.parameters(), lr=o.lr, betas=o.betas) for net in (generator, critic)]
    x = _observations(prepared)
    loader = DataLoader(TensorDataset(x, x.new_zeros(len(x))), o.batch_size, shuffle=True)

    def epoch() -> None:
        for step, batch in enumerate(loader):
            real = (batch[0].to(device), batch[1].to(device))
            given = {"global_step": step, "device": device, "scaler": None}
            found = critic.train_step(real_batch=real, netG=generator, optD=adams[1], log_data=log(), **given)
            generator.train_step(real_batch=real, netD=critic, optG=adams[0], log_data=found, **given)

    return epoch, ours
