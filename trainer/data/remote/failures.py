"""What the libraries of object stores raise, sorted by what follows: try again, ask for credentials, or say it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from enum import Enum
from typing import Any

from trainer.data.remote.address import scheme_of
from trainer.errors import DataError


class MissingObjectError(DataError):
    """There is nothing at an address: of one picture no worse than a file that is not there."""


class ReplacedObjectError(DataError):
    """There is another object at an address than was listed."""


class NoAnswerError(DataError):
    """A store did not answer, or not with what was asked for, however often it was asked."""


class Failure(Enum):
    """What went wrong, and so what is to be done."""

    missing = "missing"
    no_bucket = "no_bucket"
    no_credentials = "no_credentials"
    expired = "expired"
    denied = "denied"
    region = "region"
    replaced = "replaced"
    passing = "passing"  # a second try may do
    other = "other"


_CODES = {
    **dict.fromkeys(("NoSuchBucket", "InvalidBucketName"), Failure.no_bucket),
    **dict.fromkeys(("NoSuchKey", "404", "NotFound"), Failure.missing),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "RequestExpired"),
        Failure.expired,
    ),
    **dict.fromkeys(
        ("AccessDenied", "AllAccessDisabled", "AccountProblem", "InvalidAccessKeyId", "SignatureDoesNotMatch",
         "InvalidObjectState", "RequestTimeTooSkewed", "403"),
        Failure.denied,
    ),
    **dict.fromkeys(
        ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"),
        Failure.region,
    ),
    **dict.fromkeys(("PreconditionFailed", "412"), Failure.replaced),
    **dict.fromkeys(
        ("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "InternalError",
         "ServiceUnavailable", "RequestTimeout", "RequestTimeoutException", "OperationAborted", "IncompleteBody"),
        Failure.passing,
    ),
}  # fmt: skip
_CLASSES = {
    **dict.fromkeys(
        ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"), Failure.no_credentials
    ),
    **dict.fromkeys(
        ("UnauthorizedSSOTokenError", "SSOTokenLoadError", "TokenRetrievalError", "CredentialRetrievalError",
         "RefreshError"),
        Failure.expired,
    ),
    **dict.fromkeys(
        ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError",
         "IncompleteReadError", "ResponseStreamingError", "HTTPClientError", "ClientPayloadError",
         "ServerDisconnectedError", "ClientConnectorError", "ClientOSError", "FSTimeoutError", "ChecksumError",
         "ResponseParserError", "ConnectError", "ReadError", "RemoteProtocolError", "ConnectTimeout", "ReadTimeout"),
        Failure.passing,
    ),
}  # fmt: skip
_PASSING_ERRNO = {errno.EBUSY, errno.EAGAIN, errno.ETIMEDOUT, getattr(errno, "EREMOTEIO", errno.EIO)}


def failure_of(error: BaseException) -> Failure:
    """What an error of fsspec's or of a library below it means."""
    for each in _chain(error):
        code, status = _answer(each)
        if code in _CODES:
            return _CODES[code]
        found = next((_CLASSES[kind.__name__] for kind in type(each).__mro__ if kind.__name__ in _CLASSES), None)
        if found is not None:
            return found
        if status is not None:
            if status >= 500 or status in (408, 429):
                return Failure.passing
            named = {401: Failure.expired, 403: Failure.denied, 404: Failure.missing, 412: Failure.replaced}
            if status in named:
                return named[status]
            if status == 400:  # of HEAD, which has no room for a reason
                return Failure.expired
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return Failure.missing
    if isinstance(error, PermissionError):
        return Failure.denied
    if isinstance(error, ConnectionError | TimeoutError):
        return Failure.passing
    return Failure.passing if isinstance(error, OSError) and error.errno in _PASSING_ERRNO else Failure.other


def reason(error: BaseException) -> str:
    """The code and the words of a store's answer, or else the error's own words."""
    for each in _chain(error):
        response = getattr(each, "response", None)
        if isinstance(response, dict) and "Error" in response:
            about = response["Error"]
            return ": ".join(str(about[part]) for part in ("Code", "Message") if about.get(part))
    return str(error) or type(error).__name__


def as_user_error(error: BaseException, address: str, key: str, tries: int) -> DataError:
    """What the user is told of an error that stays.

    Args:
        address: what was asked for.
        key: of the configuration, that the address follows from.
        tries: how often it was tried.
    """
    kind, scheme = failure_of(error), scheme_of(address)
    bucket = "/".join(address.split("/")[:3])
    says = f"{address} ({key}): "
    why = f" The store says: {reason(error)}"
    if kind is Failure.missing:
        return MissingObjectError(f"{says}there is no such object.{why}")
    if kind is Failure.no_bucket:
        return DataError(f"{says}there is no bucket {bucket}. Correct the address, or the endpoint.{why}")
    if kind is Failure.no_credentials:
        return DataError(f"{says}no credentials are found. {_CREDENTIALS.get(str(scheme), _ANY_CREDENTIALS)}.{why}")
    if kind is Failure.expired:
        return DataError(
            f"{says}the credentials are not accepted any more, or not for this region. Renew them "
            f"({_RENEW.get(str(scheme), 'sign in again')}) and give the same command again: a run goes on from its "
            f"last checkpoint.{why}"
        )
    if kind is Failure.denied:
        return DataError(
            f"{says}permission denied. These credentials must be allowed to list {bucket} and to read its objects"
            f"{_RIGHTS.get(str(scheme), '')}.{why}"
        )
    if kind is Failure.region:
        return DataError(
            f"{says}the bucket lies in another region. Set AWS_DEFAULT_REGION=REGION, or "
            f"'+data.remote.options.client_kwargs={{region_name: REGION}}'.{why}"
        )
    if kind is Failure.replaced:
        return ReplacedObjectError(f"{says}{REPLACED}")
    if kind is Failure.passing:
        return NoAnswerError(
            f"{says}no answer in {tries} tries. Look at the network and the endpoint, raise data.remote.retries or "
            f"data.remote.timeout, or give the same command again later: a run goes on from its last checkpoint.{why}"
        )
    return DataError(f"{says}cannot be read.{why}")


REPLACED = (
    "the object was replaced since it was listed, so a run on it would not be the run that began. Put the former one "
    "back, or list again with data.remote.relist=true"
)
_CREDENTIALS = {
    "s3": "Give them as the AWS command line has them (aws configure, AWS_PROFILE, AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY), or read a public bucket with +data.remote.options.anon=true",
    "gs": "Sign in (gcloud auth application-default login), or read a public bucket with "
    "+data.remote.options.token=anon",
    "hf": "Sign in (hf auth login), or set HF_TOKEN",
}
_ANY_CREDENTIALS = "Give them with data.remote.options"
_RENEW = {
    "s3": "aws sso login, or another AWS_SESSION_TOKEN",
    "gs": "gcloud auth application-default login",
    "hf": "hf auth login",
}
_RIGHTS = {"s3": " (s3:ListBucket, s3:GetObject)", "gs": " (storage.objects.list, storage.objects.get)"}


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came of, the outermost first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        context = None if current.__suppress_context__ else current.__context__
        current = current.__cause__ or context


def _answer(error: Any) -> tuple[str | None, int | None]:
    """(code, HTTP status) of a store's answer, where the error has them."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        code = response.get("Error", {}).get("Code")
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return None if code is None else str(code), status
    for status in (
        getattr(response, "status_code", None),
        getattr(error, "status", None),
        getattr(error, "code", None),
    ):
        if isinstance(status, int) and 100 <= status < 600:
            return None, status
    return None, None
