"""What reports runs elsewhere: TensorBoard, Weights & Biases, MLflow. Each is an extra of its own."""

from __future__ import annotations

from genzoo.registry import Registrar, hookimpl


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register all trackers of this folder."""
    registry.scan(__name__)
