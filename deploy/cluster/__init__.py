"""The cluster without a container engine: what docker-compose.yml says, as processes on loopback."""

from deploy.cluster.cluster import Cluster
from deploy.cluster.process import ClusterError, Process

__all__ = ["Cluster", "ClusterError", "Process"]
