#!/usr/bin/env python3
"""Objects of S3 by its Python clients. Prints seconds from the first request to the last byte.

objects.py boto3|obstore large BUCKET KEY BYTES     in ranges of 8 MiB, eight at a time
objects.py boto3 small BUCKET PREFIX THREADS        all below PREFIX, listed first"""
import asyncio
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

PART = 8 << 20


def parts(size):
    return [(at, min(at + PART, size)) for at in range(0, size, PART)]


def boto3_client(threads):
    import boto3
    from botocore.config import Config
    return boto3.client("s3", config=Config(max_pool_connections=threads,
                                            s3={"addressing_style": "path"}))


def boto3_large(bucket, key, size):
    client = boto3_client(8)

    def get(part):
        span = f"bytes={part[0]}-{part[1] - 1}"
        return len(client.get_object(Bucket=bucket, Key=key, Range=span)["Body"].read())

    with ThreadPoolExecutor(8) as pool:
        began = time.perf_counter()
        total = sum(pool.map(get, parts(int(size))))
        took = time.perf_counter() - began
    return took, total == int(size)


def boto3_small(bucket, prefix, threads):
    client = boto3_client(int(threads))

    def get(key):
        return len(client.get_object(Bucket=bucket, Key=key)["Body"].read())

    with ThreadPoolExecutor(int(threads)) as pool:
        began = time.perf_counter()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        listed = [entry for page in pages for entry in page["Contents"]]
        total = sum(pool.map(get, [entry["Key"] for entry in listed]))
        took = time.perf_counter() - began
    return took, total == sum(entry["Size"] for entry in listed)


def obstore_large(bucket, key, size):
    import obstore
    from obstore.store import S3Store
    store = S3Store(bucket, endpoint=os.environ["AWS_ENDPOINT_URL"], region="us-east-1",
                    virtual_hosted_style_request=False, client_options={"allow_http": True})

    async def read_all():
        gate = asyncio.Semaphore(8)

        async def get(part):
            async with gate:
                return len(await obstore.get_range_async(store, key, start=part[0], end=part[1]))

        return sum(await asyncio.gather(*map(get, parts(int(size)))))

    began = time.perf_counter()
    total = asyncio.run(read_all())
    return time.perf_counter() - began, total == int(size)


WAYS = {("boto3", "large"): boto3_large, ("boto3", "small"): boto3_small,
        ("obstore", "large"): obstore_large}
seconds, whole = WAYS[sys.argv[1], sys.argv[2]](*sys.argv[3:])
if not whole:
    sys.exit("objects.py: not all bytes came")
print(f"{seconds:.6f}", flush=True)
os._exit(0)  # obstore's threads may abort an interpreter that ends
