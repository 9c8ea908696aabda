"""Sole importer of azure.eventgrid: publishes to a custom topic with the app's identity."""

from __future__ import annotations

import re
from dataclasses import replace
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

from rotation.edges import http_status
from rotation.edges.bounded import transport
from rotation.model.errors import EdgeError, Missing, Unavailable
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.core.credentials import AccessToken, TokenCredential

    from rotation.model.wire import JsonObject

CODES = http_status.Codes(
    unavailable=Code.TOPIC_UNAVAILABLE,
    denied=Code.TOPIC_DENIED,
    missing=Code.TOPIC_MISSING,
    conflict=Code.TOPIC_ERROR,
    invalid=Code.TOPIC_ERROR,
    token=Code.TOPIC_TOKEN,
)
FIREWALLED = replace(CODES, denied=Code.TOPIC_FIREWALL)
# https://learn.microsoft.com/azure/event-grid/troubleshoot-errors#error-code-403
REJECTED = re.compile(r"Publishing to .{1,300} by client .{1,300} is rejected", re.DOTALL)


class Scoped:
    """A credential that gives tokens of one scope, whichever is asked for.

    The client asks for the public cloud's and takes no other, as it takes no option at all.
    """

    def __init__(self, credential: TokenCredential, scope: str) -> None:
        self._credential = credential
        self._scope = scope

    def get_token(self, *_: str, **options: Any) -> AccessToken:
        return self._credential.get_token(self._scope, **options)


class EventGridTopic:
    """Implements `contracts.topic.Topic`; `scope` is of the tokens that open it.

    `refused` hears that the topic did not take the credential's token.
    """

    def __init__(
        self,
        endpoint: str,
        credential: TokenCredential,
        scope: str,
        ca_bundle: str | None,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        self._refused = refused
        self._host = urlsplit(endpoint).hostname
        self._client = EventGridPublisherClient(endpoint, Scoped(credential, scope))
        # The client drops every option that it is made with, so that its own transport, without a
        # deadline or a size for an answer, has to be replaced. A topic that drips bytes, and one
        # without an end, are among the tests of attacks, which fail should this no longer work.
        legacy: Any = self._client._client  # noqa: SLF001
        pipeline = legacy._client._client._pipeline  # noqa: SLF001
        pipeline._impl_policies[-1].next._sender = transport(ca_bundle)  # noqa: SLF001

    def publish(self, event: JsonObject) -> None:
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
            self._client.send(message, retry_total=0)
        except ClientAuthenticationError as error:
            if error.status_code is None:
                raise Unavailable(Code.IDENTITY_MISSING, f"{what}: no token") from None
            self._refused()
            raise _refused(what, error) from None
        except ResourceNotFoundError:  # the SDK makes it anew, without its status
            text = f"{what}: HTTP 404; check ROTATION_TOPIC_ENDPOINT"
            raise Missing(Code.TOPIC_MISSING, text) from None
        except HttpResponseError as error:
            raise _refused(what, error) from None
        except AzureError as error:
            text = f"{what}: {type(error).__name__}"
            raise Unavailable(Code.TOPIC_UNAVAILABLE, text) from None
        except (ValueError, RecursionError, TypeError, AttributeError) as error:
            # What the SDK makes of an answer that is none of a topic's.
            text = f"{what}: {type(error).__name__}; what answers is no topic"
            raise Unavailable(Code.TOPIC_UNAVAILABLE, text) from None


def _refused(what: str, error: HttpResponseError) -> EdgeError:
    """The error for an event that the topic refused."""
    headers = getattr(error.response, "headers", None) or {}
    asked = str(headers.get("Retry-After", ""))
    closed = error.status_code == 403 and REJECTED.search(str(error.message))
    codes = FIREWALLED if closed else CODES
    return http_status.error(codes, f"{what}: HTTP {error.status_code}", error.status_code, asked)
