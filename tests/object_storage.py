"""Object storage on this machine, for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

KEY, SECRET = "a", "b"


@contextmanager
def served_bucket() -> Iterator[tuple[str, str]]:
    """The URL of an empty bucket of S3 while the block runs, and the address of the service."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    import fsspec
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address, bucket = (
        f"http://{host}:{port}",
        f"bucket-{uuid4().hex[:8]}",
    )  # services of a process share their buckets
    before = dict(fsspec.config.conf)
    fsspec.config.conf["s3"] = {"endpoint_url": address, "key": KEY, "secret": SECRET}
    try:
        fsspec.filesystem("s3").mkdir(bucket)
        yield f"s3://{bucket}", address
    finally:
        fsspec.config.conf.clear()
        fsspec.config.conf.update(before)
        server.stop()
