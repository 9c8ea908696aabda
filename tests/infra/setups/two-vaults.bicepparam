// Two vaults of different groups; private clusters and servers whose names repeat.
using '../../../infra/main.bicep'

param environmentName = 'Prod_1'

param location = 'West Europe'

param alertRecipients = [
  'oncall@example.com'
]

param vaults = [
  {
    id: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-orders/providers/Microsoft.KeyVault/vaults/kv-orders'
    location: 'West Europe'
    rotated: [
      'orders-db-blue'
      'orders-db-green'
    ]
    private: true
  }
  {
    id: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-shop/providers/Microsoft.KeyVault/vaults/kv-shop'
    location: 'northeurope'
    rotated: [
      'shop-db-blue'
      'shop-db-green'
    ]
    read: [
      'shop-db-rotator'
    ]
    systemTopic: 'evgt-shop'
    private: true
  }
]

param clusters = [
  {
    id: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-one/providers/Microsoft.ContainerService/managedClusters/prod'
    private: true
  }
  {
    id: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-two/providers/Microsoft.ContainerService/managedClusters/prod'
    private: true
  }
]

param databases = [
  {
    id: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-orders/providers/Microsoft.DBforPostgreSQL/flexibleServers/kv-orders'
    private: true
  }
  {
    id: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-shop/providers/Microsoft.DBforPostgreSQL/flexibleServers/pg-shop'
    private: true
  }
]

param network = {
  addresses: '10.60.0.0/24'
  app: '10.60.0.0/26'
  endpoints: '10.60.0.64/26'
}
