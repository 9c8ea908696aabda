// Where custom roles are not to be defined.
using '../../../infra/main.bicep'

param environmentName = 'prod'

param alertRecipients = [
  'oncall@example.com'
]

param vaults = [
  {
    id: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-orders/providers/Microsoft.KeyVault/vaults/kv-orders'
    location: 'westeurope'
    rotated: [
      'orders-db-blue'
      'orders-db-green'
    ]
  }
]

param leastSecretsRole = false
