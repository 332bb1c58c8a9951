"""GANs of rows: levels by Gumbel noise, hard in the critic's eyes, with a softmax's slopes."""

from genzoo.registry import declare

declare.recipe(
    "table-gan",
    summary="GAN of rows: R3GAN's loss, levels drawn by Gumbel noise that starts at the columns' frequencies",
    paper="arXiv:2501.05441",
    tags=("gan", "table"),
    modalities=("table",),
    like="r3gan",
    options={"train.epochs": 50},
)
