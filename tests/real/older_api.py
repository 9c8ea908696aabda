"""A pytest plugin: the vault's client speaks 2025-07-01, the newest version that Lowkey Vault 7.3
knows, in the place of its own default."""

from azure.keyvault.secrets import ApiVersion
from azure.keyvault.secrets._shared import client_base

client_base.DEFAULT_VERSION = ApiVersion.V2025_07_01
