"""Where weights live beside the Hub and folders: buckets, through fsspec."""

from __future__ import annotations

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register the two large ones; a plugin registers others of fsspec's by the same class."""
    target = f"{__name__}.buckets:Bucket"
    registry.store("s3", target, summary="Weights in S3, s3:BUCKET/FOLDER@VERSION (pip install s3fs).")
    registry.store(
        "gs", target, summary="Weights in Google Cloud Storage, gs:BUCKET/FOLDER@VERSION (pip install gcsfs)."
    )
