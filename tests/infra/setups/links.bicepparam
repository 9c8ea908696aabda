// Signed links whose key is in a vault of another group and subscription.
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

param linkKey = {
  vaultId: '/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-keys/providers/Microsoft.KeyVault/vaults/kv-keys'
  name: 'rotation-link-key'
}
