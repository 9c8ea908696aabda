"""The clouds of Azure: what a token is asked for in each, and which servers it may be sent to.

Where nothing else is said, a service's own answer or address tells: Key Vault names its audience, a
connection string of Application Insights has one, and endpoints are settings.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cloud:
    """One cloud; `name` is what Azure Resource Manager and `az cloud list` call it.

    `authority` is where a developer signs in. `postgresql`, `clusters` and `topics` are the scopes
    of tokens for PostgreSQL, AKS and Event Grid. Names of the cloud's own PostgreSQL servers,
    vaults and API servers end with `postgresql_hosts`, `vault_hosts` and `cluster_hosts`, those of
    Azure Monitor's servers that speak Prometheus with `prometheus_hosts`; `prometheus` is the scope
    of their tokens. `logs_endpoint` answers queries in KQL, with tokens of the scope `logs`.

    Where those are from: `logs` and `logs_endpoint` from Azure's SDK for Go, module
    sdk/monitor/query/azlogs, cloud_config.go, but the public endpoint, which that has as
    api.loganalytics.io, from https://learn.microsoft.com/azure/azure-monitor/logs/api/access-api;
    `prometheus` from Grafana's azure-settings.go (grafana-azure-sdk-go) and KEDA's
    azure_managed_prometheus.go, whose scopes are the same in each cloud. The servers' names are in
    the domain of the scope.
    """

    name: str
    authority: str
    postgresql: str
    postgresql_hosts: str
    vault_hosts: str
    cluster_hosts: str
    topics: str
    prometheus: str
    prometheus_hosts: str
    logs: str
    logs_endpoint: str
    clusters: str = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"  # the same application in each


PUBLIC = Cloud(
    name="AzureCloud",
    authority="login.microsoftonline.com",
    postgresql="https://ossrdbms-aad.database.windows.net/.default",
    postgresql_hosts=".postgres.database.azure.com",
    vault_hosts=".vault.azure.net",
    cluster_hosts=".azmk8s.io",
    topics="https://eventgrid.azure.net/.default",
    prometheus="https://prometheus.monitor.azure.com/.default",
    prometheus_hosts=".prometheus.monitor.azure.com",
    logs="https://api.loganalytics.io/.default",
    logs_endpoint="https://api.loganalytics.azure.com",
)
US_GOVERNMENT = Cloud(
    name="AzureUSGovernment",
    authority="login.microsoftonline.us",
    postgresql="https://ossrdbms-aad.database.usgovcloudapi.net/.default",
    postgresql_hosts=".postgres.database.usgovcloudapi.net",
    vault_hosts=".vault.usgovcloudapi.net",
    cluster_hosts=".cx.aks.containerservice.azure.us",
    topics="https://eventgrid.azure.us/.default",
    prometheus="https://prometheus.monitor.azure.us/.default",
    prometheus_hosts=".prometheus.monitor.azure.us",
    logs="https://api.loganalytics.us/.default",
    logs_endpoint="https://api.loganalytics.us",
)
CHINA = Cloud(
    name="AzureChinaCloud",
    authority="login.chinacloudapi.cn",
    postgresql="https://ossrdbms-aad.database.chinacloudapi.cn/.default",
    postgresql_hosts=".postgres.database.chinacloudapi.cn",
    vault_hosts=".vault.azure.cn",
    cluster_hosts=".cx.prod.service.azk8s.cn",
    topics="https://eventgrid.azure.cn/.default",
    prometheus="https://prometheus.monitor.azure.cn/.default",
    prometheus_hosts=".prometheus.monitor.azure.cn",
    logs="https://api.loganalytics.azure.cn/.default",
    logs_endpoint="https://api.loganalytics.azure.cn",
)
CLOUDS = {cloud.name: cloud for cloud in (PUBLIC, US_GOVERNMENT, CHINA)}


def named(name: str | None) -> Cloud:
    """The cloud of this name; the public one for none, and for one that `settings` complains of."""
    return CLOUDS.get(name or PUBLIC.name, PUBLIC)
