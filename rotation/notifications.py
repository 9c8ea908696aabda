"""Sole importer of azure.eventgrid: publishes to a custom topic with the app's identity."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.eventgrid import EventGridEvent, EventGridPublisherClient

from rotation.errors import Denied, EdgeError, Invalid, Missing, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azure.core.credentials import TokenCredential


class EventGridTopic:
    def __init__(self, endpoint: str, credential: TokenCredential, ca_bundle: str | None) -> None:
        self._host = urlsplit(endpoint).hostname
        self._client = EventGridPublisherClient(endpoint, credential)
        # This client takes transport options with each call only.
        self._options: dict[str, Any] = {"retry_total": 0, "connection_verify": ca_bundle or True}

    def publish(self, event: Mapping[str, Any]) -> None:
        message = EventGridEvent(
            id=event["id"],
            event_type=event["eventType"],
            subject=event["subject"],
            event_time=datetime.fromisoformat(event["eventTime"]),
            data=event["data"],
            data_version=event["dataVersion"],
        )
        what = f"Event Grid topic {self._host} did not take event {event['id']}"
        try:
            self._client.send(message, **self._options)
        except ClientAuthenticationError as error:
            if error.status_code is None:
                raise Unavailable(f"{what}: no token") from None
            raise _refusal(what, error) from None
        except ResourceNotFoundError:  # the SDK makes it anew, without its status
            raise Missing(f"{what}: HTTP 404; check ROTATION_TOPIC_ENDPOINT") from None
        except HttpResponseError as error:
            raise _refusal(what, error) from None
        except AzureError as error:
            raise Unavailable(f"{what}: {type(error).__name__}") from None


def _refusal(what: str, error: HttpResponseError) -> EdgeError:
    status = error.status_code
    if status in {401, 403}:
        return Denied(
            f"{what}: HTTP {status}; grant the app's identity EventGrid Data Sender on it"
        )
    if status in {408, 429} or status is None or status >= 500:
        return Unavailable(f"{what}: HTTP {status}")
    return Invalid(f"{what}: HTTP {status}")
