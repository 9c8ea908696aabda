// Paused, locked, records that nobody can change for a year, and with logs in a workspace of the platform team as well.
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

param paused = true

param lock = {
  kind: 'CanNotDelete'
}

param diagnosticSettings = [
  {
    workspaceResourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-platform/providers/Microsoft.OperationalInsights/workspaces/log-platform'
  }
  {
    name: 'archive'
    storageAccountResourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-platform/providers/Microsoft.Storage/storageAccounts/starchive'
    metricCategories: []
  }
]

param recordDays = 3650

param recordImmutableDays = 365
