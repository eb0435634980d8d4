"""Keys, tokens and signatures: what proves that a request or a URL comes from this service or an account."""

from imagequeue.signing.api_keys import ApiKey, api_key_lookup, is_api_key, new_api_key
from imagequeue.signing.keyring import Keyring, new_secret_key
from imagequeue.signing.webhooks import new_webhook_secret, sign

__all__ = [
    "ApiKey",
    "Keyring",
    "api_key_lookup",
    "is_api_key",
    "new_api_key",
    "new_secret_key",
    "new_webhook_secret",
    "sign",
]
