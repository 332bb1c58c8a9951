"""What reports runs elsewhere: TensorBoard, Weights & Biases, MLflow. Each is an extra of its own."""
