"""A store of S3's kind on this machine."""

from contextlib import contextmanager

import boto3
from moto.server import ThreadedMotoServer


@contextmanager
def s3_store(bucket):
    """Gives a function from a path in the bucket to its URI."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", **keys).create_bucket(
        Bucket=bucket
    )
    query = f"scheme=http&endpoint_override={host}:{port}&region=us-east-1"
    yield lambda path: f"s3://key:secret@{bucket}/{path}?{query}"
    server.stop()
