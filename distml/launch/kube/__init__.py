"""Runs as jobs of KubeRay, through the Kubernetes API."""

__all__: list[str] = []
