// The events of a second environment on the vault of the default one, whose system topic it does not name.
using '../../../infra/events.bicep'

param functionAppName = 'func-rotation-test-fedcba'

param storageAccountName = 'strotationfedcba'

param deadLettersContainer = 'dead-letters'

param actionGroupId = '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-rotation-test/providers/Microsoft.Insights/actionGroups/ag-rotation-test-fedcba'

param topicName = 'evgt-rotation-test-fedcba'

param vaultIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-orders/providers/Microsoft.KeyVault/vaults/kv-orders'
]

param vaultTopics = [
  ''
]

param vaultLocations = [
  'westeurope'
]
