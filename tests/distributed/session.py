"""A script as users write them, which knows nothing of processes: ``session.py DATA OUT RECIPE STOP_AT RESUME``."""

import os
import sys
import time

import genzoo
from genzoo.core.training.observers import Checkpoints


def stop(trainer, config):
    one_step = trainer._one_step

    def step():
        one_step()
        time.sleep(0.06)  # or a run as short as this would be over before all know
        if trainer.step == int(sys.argv[4]):
            trainer.stopping = True
        if trainer.step == 3 and "STUCK" in os.environ and trainer.runtime.first:
            print("stuck", flush=True)
            time.sleep(100)  # as in a call that waits for the others on a device

    trainer._one_step = step


if __name__ == "__main__":
    data, out, recipe = sys.argv[1:4]
    other = "critic" if "gan" in recipe else "encoder"
    options = {"generator": "mlp", other: "mlp", "generator.width": 8, f"{other}.width": 8, "latent.size": 3}
    options |= {"train.batch_size": 8, "train.log_every": 2, "train.average": 64, "generator.norm": "batch"}
    options |= {"train.validation": 0.1} if "vae" in recipe else {}
    if "OFTEN" in os.environ:  # checkpoints by the clock
        Checkpoints.__init__.__defaults__ = (0.1,)
    run = genzoo.fit(recipe, data, out, steps=12, options=options, device="cpu", progress=False,
                     resume=sys.argv[5] == "1", on_start=stop, shard="SPLIT" in os.environ or None)  # fmt: skip
    assert run.model.sample(3).shape == (3, 1, 9, 8)
    assert (run.folder / "manifest.json").is_file()
