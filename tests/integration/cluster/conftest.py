"""One cluster of three brokers for the tests of this folder: starting it is what takes time.

They are for `make test-cluster` (CLUSTER=1) and not part of `make test`, which has to fit two cores and ten minutes.
"""

import os
from collections.abc import Iterator

import pytest

from deploy.cluster import Cluster
from tests.support.kafka import missing, why_no_broker
from tests.support.postgres import data_folder

collect_ignore_glob = [] if os.environ.get("CLUSTER") == "1" else ["test_*.py"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if reason := why_no_broker():
        missing(reason)
    with data_folder() as folder:
        cluster = Cluster(folder, brokers=3, replicas={"scoring": 2, "routing": 0, "notifier": 0})
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()
