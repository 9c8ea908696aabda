// Everything private, with Entra sign-in and approval by mail. The vault is in a resource group of its
// own, the cluster in another subscription.
using '../main.bicep'

param environmentName = 'prod'

param tags = {
  owner: 'platform'
}

param alertRecipients = [
  'oncall@example.com'
  'database@example.com'
]

param vaults = [
  {
    id: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-orders/providers/Microsoft.KeyVault/vaults/kv-orders'
    location: 'westeurope'
    rotated: [
      'orders-db-blue'
      'orders-db-green'
    ]
    read: [
      'orders-db-rotator'
    ]
    systemTopic: 'evgt-orders'
    private: true
  }
]

param clusters = [
  {
    id: '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-aks/providers/Microsoft.ContainerService/managedClusters/prod-weu'
    private: true
    ownerApproves: true
  }
]

param databases = [
  {
    id: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-orders/providers/Microsoft.DBforPostgreSQL/flexibleServers/pg-orders'
    private: true
  }
]

param network = {
  addresses: '10.60.0.0/24'
  app: '10.60.0.0/26'
  endpoints: '10.60.0.64/26'
}

param signIn = {
  clientId: '22222222-2222-2222-2222-222222222222'
}

param decisionKey = {
  vaultId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-orders/providers/Microsoft.KeyVault/vaults/kv-orders'
  name: 'rotation-decision-key'
}

param schedulerSku = 'Dedicated'

param instanceMemory = 2048

param sweepSchedule = '0 30 5 * * *'
