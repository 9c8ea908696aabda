// What the caller describes and several files pass on.

@description('Names and their texts, for example tags.')
@export()
type texts = {
  @description('The text of one name.')
  *: string
}

@description('A Key Vault whose secrets are rotated or read. Both lists name secrets that exist already.')
@export()
type vault = {
  @description('Resource id; any resource group and subscription of the tenant.')
  id: string

  @description('Region, as `westeurope` or `West Europe`: its system topic must be in the same one.')
  location: string

  @description('Secrets of the slots, two per credential: new versions are set, read, listed and disabled.')
  rotated: string[]

  @description('Secrets that are only read, for example the password of the database login that rotates.')
  read: string[]?

  @description('Name of the system topic that the vault has already, in its resource group and with a system-assigned identity: it can have no second. Without it one is made.')
  systemTopic: string?

  @description('Reach the vault over a private endpoint. Needs `network`.')
  private: bool?

  @description('The owner accepts the private endpoint by hand. Without it whoever deploys needs Microsoft.KeyVault/vaults/PrivateEndpointConnectionsApproval/action.')
  ownerApproves: bool?
}

@description('An AKS cluster that workloads run in.')
@export()
type cluster = {
  @description('Resource id.')
  id: string

  @description('Reach its API server over a private endpoint. Needs `network`, and a private cluster with a private link (none with API Server VNet Integration).')
  private: bool?

  @description('The owner accepts the private endpoint by hand. Without it whoever deploys needs Microsoft.ContainerService/managedClusters/PrivateEndpointConnectionsApproval/action.')
  ownerApproves: bool?
}

@description('An Azure Database for PostgreSQL flexible server.')
@export()
type database = {
  @description('Resource id.')
  id: string

  @description('Reach it over a private endpoint. Needs `network`, and a server that is not injected into a network of its own.')
  private: bool?

  @description('The owner accepts the private endpoint by hand. Without it whoever deploys needs Microsoft.DBforPostgreSQL/flexibleServers/PrivateEndpointConnectionsApproval/action.')
  ownerApproves: bool?
}

@description('One secret in a Key Vault.')
@export()
type secret = {
  @description('Resource id of the vault.')
  vaultId: string

  @description('Name of the secret.')
  name: string
}

@description('Entra sign-in (App Service authentication).')
@export()
type signIn = {
  @description('Client id of the app registration that people sign in to.')
  clientId: string

  @description('Client ids of other applications that may call the API with a token of their own.')
  callers: string[]?
}

@description('Address ranges of the virtual network that the deployment creates.')
@export()
type network = {
  @description('Of the whole network, for example 10.60.0.0/24.')
  addresses: string

  @description('Of the subnet for the app, /27 or larger.')
  app: string

  @description('Of the subnet for private endpoints, /27 or larger.')
  endpoints: string
}
