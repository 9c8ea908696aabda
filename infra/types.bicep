// What the caller describes and several files pass on.

@description('Names and their texts, for example tags.')
@export()
type texts = {
  @description('Required. The text of one name.')
  *: string
}

@description('A Key Vault whose secrets are rotated or read. Both lists name secrets that exist already.')
@export()
type vault = {
  @description('Required. Resource id; any resource group and subscription of the tenant.')
  id: string

  @description('Required. Region, as `westeurope` or `West Europe`: its system topic must be in the same one.')
  location: string

  @description('Required. Secrets of the slots, two per credential: new versions are set, read, listed and disabled.')
  rotated: string[]

  @description('Optional. Secrets that are only read, for example the password of the database login that rotates.')
  read: string[]?

  @description('Optional. Name of the system topic that the vault has already, in its resource group and with a system-assigned identity: it can have no second. Without it one is made.')
  systemTopic: string?

  @description('Optional. Reach the vault over a private endpoint. Needs `network`.')
  private: bool?

  @description('Optional. The owner accepts the private endpoint by hand. Without it whoever deploys needs Microsoft.KeyVault/vaults/PrivateEndpointConnectionsApproval/action.')
  ownerApproves: bool?
}

@description('An AKS cluster that workloads run in.')
@export()
type cluster = {
  @description('Required. Resource id.')
  id: string

  @description('Optional. Reach its API server over a private endpoint. Needs `network`, and a private cluster with a private link (none with API Server VNet Integration).')
  private: bool?

  @description('Optional. The owner accepts the private endpoint by hand. Without it whoever deploys needs Microsoft.ContainerService/managedClusters/PrivateEndpointConnectionsApproval/action.')
  ownerApproves: bool?
}

@description('An Azure Database for PostgreSQL flexible server.')
@export()
type database = {
  @description('Required. Resource id.')
  id: string

  @description('Optional. Reach it over a private endpoint. Needs `network`, and a server that is not injected into a network of its own.')
  private: bool?

  @description('Optional. The owner accepts the private endpoint by hand. Without it whoever deploys needs Microsoft.DBforPostgreSQL/flexibleServers/PrivateEndpointConnectionsApproval/action.')
  ownerApproves: bool?
}

@description('One secret in a Key Vault.')
@export()
type secret = {
  @description('Required. Resource id of the vault.')
  vaultId: string

  @description('Required. Name of the secret.')
  name: string
}

@description('Entra sign-in (App Service authentication).')
@export()
type signIn = {
  @description('Required. Client id of the app registration that people sign in to.')
  clientId: string

  @description('Optional. Client ids of other applications that may call the API with a token of their own.')
  callers: string[]?
}

@description('Address ranges of the virtual network that the deployment creates.')
@export()
type network = {
  @description('Required. Of the whole network, for example 10.60.0.0/24.')
  addresses: string

  @description('Required. Of the subnet for the app, /27 or larger.')
  app: string

  @description('Required. Of the subnet for private endpoints, /27 or larger.')
  endpoints: string
}

@description('A lock, as in Azure Verified Modules. ReadOnly would keep the app from writing its leases.')
@export()
type lock = {
  @description('Required. What it keeps people from.')
  kind: 'CanNotDelete' | 'None'

  @description('Optional. Name of each lock; `lock-` and the name of the resource without it.')
  name: string?

  @description('Optional. Why it is there.')
  notes: string?
}

@description('A diagnostic setting, as in Azure Verified Modules. At least one destination.')
@export()
type diagnosticSetting = {
  @description('Optional. Name of the setting; `rotation` without it.')
  name: string?

  @description('Optional. Resource id of a Log Analytics workspace.')
  workspaceResourceId: string?

  @description('Optional. Resource id of a storage account.')
  storageAccountResourceId: string?

  @description('Optional. Resource id of an authorisation rule of an Event Hubs namespace.')
  eventHubAuthorizationRuleResourceId: string?

  @description('Optional. Name of the event hub.')
  eventHubName: string?

  @description('Optional. Groups of logs; `allLogs` without it, none with an empty list.')
  logCategoriesAndGroups: logGroup[]?

  @description('Optional. Categories of metrics; `AllMetrics` without it, none with an empty list.')
  metricCategories: metricCategory[]?
}

@description('Logs, by group: not every kind of resource has the same categories.')
@export()
type logGroup = {
  @description('Required. For example `allLogs` or `audit`.')
  categoryGroup: string
}

@description('Metrics of one category.')
@export()
type metricCategory = {
  @description('Required. For example `AllMetrics`.')
  category: string
}
