"""Data sets: Fashion-MNIST, whole and small, digits, emoji, toy densities in the plane, and a user's own files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genzoo.registry import hookimpl

if TYPE_CHECKING:
    from genzoo.registry.registrar import Registrar

HERE = "genzoo.plugins.datasets"


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register the data sets."""
    registry.dataset(
        "fashion-mnist",
        f"{HERE}.fashion_mnist:FashionMNIST",
        summary="70,000 grey 28×28 pictures of clothes in 10 classes",
        paper="arXiv:1708.07747",
        modalities=("image",),
    )
    registry.dataset(
        "fashion-mini",
        f"{HERE}.fashion_mini:FashionMini",
        summary="7,000 pictures of Fashion-MNIST that come with genzoo",
        paper="arXiv:1708.07747",
        modalities=("image",),
        tags=("bundled",),
    )
    registry.dataset(
        "emoji",
        f"{HERE}.emoji:Emoji",
        summary="1,906 colour 32×32 emoji in 9 classes that come with genzoo",
        modalities=("image",),
        tags=("bundled", "colour"),
    )
    registry.dataset(
        "strings",
        f"{HERE}.strings:Strings",
        summary="binary strings of a Markov chain, as pictures of one row; their entropy is known",
        modalities=("image",),
        tags=("toy", "bundled"),
    )
    registry.dataset(
        "ring8",
        f"{HERE}.toys:Ring8",
        summary="8 Gaussians on a circle of radius 1, σ = .01",
        paper="arXiv:1611.02163",
        modalities=("vector",),
        tags=("toy", "bundled"),
    )
    registry.dataset(
        "grid25",
        f"{HERE}.toys:Grid25",
        summary="25 Gaussians on a grid of spacing 2, σ = .05",
        paper="arXiv:1705.07761",
        modalities=("vector",),
        tags=("toy", "bundled"),
    )
    registry.dataset(
        "factors",
        f"{HERE}.factors:Factors",
        summary="one shape of known kind, size, rotation, position and colour, drawn on demand",
        modalities=("image",),
        tags=("toy", "bundled", "factors"),
    )
    registry.dataset(
        "digits",
        f"{HERE}.digits:Digits",
        summary="10,000 grey 28×28 handwritten digits of MNIST that come with genzoo",
        modalities=("image",),
        tags=("bundled",),
    )
    registry.dataset(
        "stacked-digits",
        f"{HERE}.stacked:StackedDigits",
        summary="three handwritten digits as colour channels: 1,000 modes",
        paper="arXiv:1611.02163",
        modalities=("image",),
        tags=("toy", "bundled"),
    )
    registry.dataset(
        "stacked-fashion",
        f"{HERE}.stacked:StackedFashion",
        summary="three pictures of clothes as colour channels: 1,000 modes",
        paper="arXiv:1611.02163",
        modalities=("image",),
        tags=("toy", "bundled"),
    )
    registry.dataset(
        "folder",
        f"{HERE}.folder:Folder",
        summary="your folder of images, with class sub-folders if you like",
        modalities=("image",),
        tags=("own",),
    )
    registry.dataset(
        "array",
        f"{HERE}.arrays:ArrayFile",
        summary="your .npy or .npz file of images or vectors",
        modalities=("image", "vector"),
        tags=("own",),
    )
