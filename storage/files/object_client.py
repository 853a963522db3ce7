"""The client of an S3 service, and what its errors mean."""

import os
import re
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from schemas.errors import StoreUnreachableError

if TYPE_CHECKING:
    from obstore.store import S3Store

# A wrong address must be told within seconds; a request of a whole shard may take its time.
CONNECT_SECONDS, REQUEST_SECONDS = 4, 120
RETRIES, RETRY_SECONDS = 3, 30
# In the order in which AWS's own tools look at them.
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
# Where machines of a cloud ask for credentials.
METADATA_ADDRESSES = ("169.254.169.254", "169.254.170.2")
CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key that may use the bucket"
ADDRESS = "check AWS_ENDPOINT_URL, AWS_REGION and the network"


# The process whose threads serve the clients; a fork of it has the clients without the threads.
USED_IN: set[int] = set()


def client_of(bucket: str, prefix: str | None = None) -> "S3Store":
    """The client of a bucket as the environment has it now, with keys that count from a prefix."""
    USED_IN.add(os.getpid())
    if len(USED_IN) > 1:
        # it would wait for an answer for ever
        raise StoreUnreachableError(
            "a forked process cannot use the connections to S3 of its parent",
            expected="processes that are spawned, or a parent that has not used S3 before",
            advice="start processes by the method `spawn` or `forkserver`",
        )
    settings = tuple(sorted((key, value) for key, value in os.environ.items() if key.startswith("AWS_")))
    return _client(bucket, prefix, settings)


@lru_cache(maxsize=8)
def _client(
    bucket: str,
    prefix: str | None,
    settings: tuple[tuple[str, str], ...],  # noqa: ARG001 - obstore reads them itself
) -> "S3Store":
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise StoreUnreachableError(
            "stores on S3 need the package obstore",
            expected="the packages of the extra `s3`",
            advice="pip install 'lensmill[s3]'",
        ) from error

    endpoint = _checked_endpoint()
    config = {"endpoint": endpoint} if endpoint else {}
    return S3Store(
        bucket,
        prefix=prefix,
        config=config,  # type: ignore[arg-type]  # a part of the keys
        client_options={
            # only where the person who set the endpoint said so
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "timeout": timedelta(seconds=REQUEST_SECONDS),
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
    )


def _checked_endpoint() -> str:
    """The endpoint of the environment, if it is an address: the client panics where it is none."""
    for name in ENDPOINTS:
        if name in os.environ and not _is_address(os.environ[name]):
            value = os.environ[name]
            # what stands before an @ may be a password
            raise StoreUnreachableError(
                f"{name} is {'no address' if '@' in value else repr(value)}",
                expected="http://HOST:PORT or https://HOST, without anything behind",
                where="the environment",
                advice=f"mend it, or unset {name} to use Amazon S3",
            )
    return _endpoint()


def _is_address(text: str) -> bool:
    try:
        found = urlsplit(text)
        valid = found.port is None or found.port > 0
    except ValueError:
        return False
    plain = not re.search(r"[\s?#]", text) and found.path in ("", "/")
    return valid and plain and found.scheme in ("http", "https") and bool(found.hostname)


def _endpoint() -> str:
    return next((value for name in ENDPOINTS if (value := os.environ.get(name))), "")


def _server() -> str:
    """The server as it may be shown: an endpoint can hold a password."""
    if not _endpoint():
        return "Amazon S3"
    try:
        found = urlsplit(_endpoint())
        port = f":{found.port}" if found.port else ""
    except ValueError:
        return "the server of AWS_ENDPOINT_URL"
    return f"{found.scheme}://{found.hostname}{port}"


def reason_of(told: str, bucket: str) -> tuple[str, str]:
    """What happened and what to do, from an error's text."""
    code = re.search(r"<Code>(\w+)</Code>", told)
    status = re.search(r"status code: (\d{3})", told)
    said = ", ".join(one[1] for one in (status, code) if one) or "no answer that can be understood"
    if any(address in told for address in METADATA_ADDRESSES):
        return "there are no credentials in the environment", CREDENTIALS
    if "NoSuchBucket" in told or "404 Not Found" in told:
        return f"there is no bucket {bucket!r} at {_server()}", "check the bucket's name and AWS_ENDPOINT_URL"
    if re.search(r"status code: 40[13]", told):
        return f"{_server()} denies access ({said})", CREDENTIALS
    if "kind: Timeout" in told or "timed out" in told:
        return f"no answer from {_server()} in time", ADDRESS
    if "error sending request" in told or "kind: Connect" in told:
        return f"no connection to {_server()}", ADDRESS
    return f"{_server()} refuses ({said})", ADDRESS
