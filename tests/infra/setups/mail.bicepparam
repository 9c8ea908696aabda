// Approval by mail, without sign-in.
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
  vaultId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-orders/providers/Microsoft.KeyVault/vaults/kv-orders'
  name: 'rotation-link-key'
}

param decisionKey = {
  vaultId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-orders/providers/Microsoft.KeyVault/vaults/kv-orders'
  name: 'rotation-decision-key'
}
