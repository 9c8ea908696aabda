// The smallest deployment that rotates: public addresses, Durable Task Scheduler, approval through
// signed links. Change the ids; azd fills in the variables. examples/private.bicepparam has the rest.
using 'main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'prod')

// `azd env set ROTATION_PAUSED true` and `azd provision`: docs/operations.md, Pause.
param paused = bool(readEnvironmentVariable('ROTATION_PAUSED', 'false'))

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
